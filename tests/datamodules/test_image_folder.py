"""A folder of images from the first decoding to the file of predictions."""

import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from PIL import Image
from processes import Command, in_one_worker
from torchvision.datasets import ImageFolder
from torchvision.transforms import PILToTensor

from lit_course.datamodules import ImageFolderDataModule, image_folder

CLASSES = ["daisy", "rose", "tulip"]


@pytest.fixture
def divided(flowers, tmp_path) -> Path:
    """30 images to train on, 6 to validate and 9 to test on."""
    for split, count in (("train", 10), ("val", 2), ("test", 3)):
        for name in CLASSES:
            (tmp_path / "divided" / split / name).mkdir(parents=True)
            for number in range(count):
                image = f"{name}/{number}.png"
                shutil.copy(flowers / image, tmp_path / "divided" / split / image)
    return tmp_path / "divided"


def ready(root: Path, **options) -> ImageFolderDataModule:
    data = ImageFolderDataModule(str(root), **{"size": 8, **options})
    data.prepare_data()
    data.setup("fit")
    return data


def everything(loader) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(loader)
    return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])


def test_one_folder_for_each_class(flowers):
    data = ready(flowers, val_size=6, test_size=9)
    assert data.split_sizes == {"train": 45, "val": 6, "test": 9}
    assert data.schema["class_names"] == list(CLASSES)
    assert (data.in_features, data.num_classes) == (192, 3)
    assert data.class_counts.tolist() == [15] * 3  # stratified
    reference = ImageFolder(flowers, PILToTensor())
    rows = []
    for x, y, extras in data.predict_dataloader():
        for image, label, row in zip(x, y, extras["row"], strict=True):
            expected, number = reference[row]
            assert torch.equal(image, expected)
            assert label == number
            assert str(flowers / data.row_names[row]) == reference.samples[row][0]
            rows.append(int(row))
    assert len(rows) == 9


def test_the_folders_of_the_splits_are_the_splits(divided):
    data = ready(divided, shuffle=False)
    assert data.split_sizes == {"train": 30, "val": 6, "test": 9}
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    for name, loader in zip(("train", "val", "test"), loaders, strict=True):
        reference = ImageFolder(divided / name, PILToTensor())
        x, y = everything(loader)
        assert torch.equal(x, torch.stack([image for image, _ in reference]))
        assert y.tolist() == reference.targets
    rows = torch.cat([extras["row"] for _, _, extras in data.predict_dataloader()]).tolist()
    assert [data.row_names[row] for row in rows][::4] == [
        *("test/daisy/0.png", "test/rose/1.png", "test/tulip/2.png")
    ]


@pytest.mark.parametrize("missing", ["val", "test"])
def test_a_split_without_a_folder_is_cut_out_of_train(divided, missing, caplog):
    shutil.rmtree(divided / missing)
    other = "test" if missing == "val" else "val"
    sizes = {f"{missing}_size": 6, f"{other}_size": 7}
    with caplog.at_level("INFO"):
        data = ready(divided, **sizes)
    count = {"val": 6, "test": 9}[other]
    assert data.split_sizes == {"train": 24, missing: 6, other: count}
    assert f"train, {other}; {missing} cut out of train" in caplog.text
    assert data.class_counts.tolist() == [8] * 3
    names = {
        split: {data.row_names[row] for row in data._splits[split].rows}
        for split in data.split_sizes
    }
    assert not names["train"] & names[missing]
    assert all(name.startswith("train/") for name in names["train"] | names[missing])
    assert all(name.startswith(other) for name in names[other])


def test_what_is_found_is_said_once(flowers, caplog):
    with caplog.at_level("INFO"):
        data = ready(flowers)
        data.prepare_data()
        data.setup("test")
    assert [record.getMessage() for record in caplog.records] == [
        f"images are kept for the next run in {flowers}.8x8-RGB.safetensors",
        f"60 images of 3 classes (daisy, rose, tulip) in {flowers}: one folder for each class",
    ]


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """How many images each decoding had."""
    counts: list[int] = []
    decode = image_folder.decode

    def counting(paths, *args, **options):
        counts.append(len(paths))
        return decode(paths, *args, **options)

    monkeypatch.setattr(image_folder, "decode", counting)
    return counts


def test_images_are_decoded_once_and_again_when_one_changes(flowers, decoded):
    first = ready(flowers)
    again = ready(flowers)
    assert decoded == [60]
    for loader in ("train_dataloader", "test_dataloader"):
        for one, other in zip(
            everything(getattr(first, loader)()), everything(getattr(again, loader)()), strict=True
        ):
            assert torch.equal(one, other)
    Image.new("RGB", (8, 8)).save(flowers / "tulip/7.png")
    changed = ready(flowers)
    assert decoded == [60, 60]
    row = changed.row_names.index("tulip/7.png")
    assert changed._splits["train"].samples.x[row].max() < 20
    ready(flowers, mode="L")
    assert ready(flowers, mode="L").in_features == 64
    assert decoded == [60, 60, 60]
    (flowers / "tulip/7.png").unlink()
    assert sum(ready(flowers).split_sizes.values()) == 59
    assert len(list(flowers.parent.glob("*.safetensors"))) == 2


def test_a_damaged_cache_is_made_anew(flowers, decoded):
    ready(flowers)
    path = Path(f"{flowers}.8x8-RGB.safetensors")
    good = path.read_bytes()
    path.write_bytes(good[:-5] + b"wrong")
    ready(flowers)
    assert decoded == [60, 60]
    assert path.read_bytes() == good


def test_without_a_cache_nothing_is_written(flowers, decoded):
    before = sorted(flowers.parent.iterdir())
    ready(flowers, cache=False)
    ready(flowers, cache=False)
    assert decoded == [60, 60]
    assert sorted(flowers.parent.iterdir()) == before


def test_broken_files_are_refused_or_left_out(flowers, caplog, decoded):
    (flowers / "tulip/3.png").write_bytes(b"")
    (flowers / "daisy/4.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot be read") as error:
        ready(flowers)
    assert str(error.value).splitlines() == [
        f"2 of 60 images in {flowers} cannot be read:",
        "daisy/4.png: no image that is known",
        "tulip/3.png: empty",
        "mend or remove them, or leave them out with skip_broken",
    ]
    with caplog.at_level("INFO"):
        data = ready(flowers, skip_broken=True)
    assert decoded == [60]  # the second time they are left out without being tried
    assert "2 of 60 images" in caplog.text
    assert "left out: daisy/4.png: no image that is known, tulip/3.png: empty" in caplog.text
    assert len(data.row_names) == sum(data.split_sizes.values()) == 58
    assert not {"tulip/3.png", "daisy/4.png"} & set(data.row_names)
    reference = ImageFolder(
        flowers, PILToTensor(), is_valid_file=lambda path: Path(path).stat().st_size > 9
    )
    samples = data._splits["train"].samples
    assert torch.equal(samples.x, torch.stack([image for image, _ in reference]))
    assert samples.y.tolist() == reference.targets
    for number in range(20):
        (flowers / f"rose/{number}.png").write_bytes(b"")
    with pytest.raises(ValueError, match="and 19 more; mend or remove") as error:
        ready(flowers)
    assert len(str(error.value).splitlines()) == 5


def test_arguments(flowers):
    with pytest.raises(ValueError, match="size must be at least 1, found 0"):
        ImageFolderDataModule(str(flowers), size=0)
    with pytest.raises(ValueError, match="mode must be 'L' or 'RGB', found 'CMYK'"):
        ImageFolderDataModule(str(flowers), mode="CMYK")


def test_names_that_are_not_utf8(flowers):
    (flowers / "tulip/1.png").rename(flowers / "tulip" / "r\udce9.png")
    data = ready(flowers)
    assert "tulip/r�.png" in data.row_names


MODEL = ("--model", "MLPClassifier", "--model.hidden_features", "[16]", "--model.lr", 0.01)


def test_from_the_command_line(lit, flowers, tmp_path):
    images = ("--data", "ImageFolderDataModule", "--data.root", flowers, "--data.size", 8)
    fit = ("fit", *MODEL, *images, "--data.test_size", 12, "--trainer.max_epochs", 20)
    done = lit(*fit, "--name", "colours", "--test_best", "true")
    assert done.status == 0, done.err
    assert f"60 images of 3 classes (daisy, rose, tulip) in {flowers}" in done.err
    run = tmp_path / "runs/colours/version_0"
    assert '"test/accuracy": 1.0' in (run / "test_metrics.json").read_text()
    done = lit("predict", "--ckpt_path", run)
    assert done.status == 0, done.err
    table = pl.read_csv(run / "predictions.csv")
    assert table.columns[:4] == ["name", "row", "class", "class_name"]
    assert table.columns[4:] == [f"probability_{name}" for name in CLASSES]
    assert len(table) == 12
    for name, predicted in table.select("name", "class_name").iter_rows():
        assert Path(name).parent.name == predicted


def test_images_of_no_class_are_predicted(lit, flowers, tmp_path):
    images = ("--data", "ImageFolderDataModule", "--data.root", flowers, "--data.size", 8)
    done = lit("fit", *MODEL, *images, "--trainer.max_epochs", 20, "--name", "colours")
    assert done.status == 0, done.err
    new = tmp_path / "new"
    (new / "monday").mkdir(parents=True)
    shutil.copy(flowers / "tulip/3.png", new / "first.png")
    shutil.copy(flowers / "rose/3.png", new / "monday/second.png")
    run = tmp_path / "runs/colours/version_0"
    unlabeled = ("--data.root", new, "--data.labeled", "false")
    done = lit("predict", "--ckpt_path", run, *unlabeled)
    assert done.status == 0, done.err
    table = pl.read_csv(run / "predictions.csv")
    assert table["name"].to_list() == ["first.png", "monday/second.png"]
    assert table["class"].to_list() == [2, 1]
    for verb, message in (("test", "no rows to test on"), ("fit", "found 0 to train on")):
        done = lit(verb, "--ckpt_path", run, *unlabeled)
        assert done.status == 1
        assert message in done.err
    done = lit("predict", "--ckpt_path", run, "--data.root", new / "monday")
    assert "No class folder in" in done.err
    nothing = run / "checkpoints"
    done = lit("predict", "--ckpt_path", run, "--data.root", nothing, "--data.labeled", "false")
    assert "No image in" in done.err


def test_errors_on_the_command_line(lit, flowers):
    images = ("--data", "ImageFolderDataModule", "--data.root")
    (flowers / "tulip/3.png").write_bytes(b"")
    done = lit("fit", *MODEL, *images, flowers)
    assert done.status == 1
    assert done.err.splitlines()[-3:] == [
        f"error: 1 of 60 images in {flowers} cannot be read:",
        "tulip/3.png: empty",
        "mend or remove them, or leave them out with skip_broken",
    ]
    done = lit("fit", *MODEL, *images, flowers / "nowhere")
    assert done.status == 1
    assert "No folder" in done.err


def test_a_cache_that_cannot_be_written_is_no_error(flowers, caplog):
    path = Path(f"{flowers}.8x8-RGB.safetensors")
    path.with_name(f"{path.name}.part").mkdir()
    with caplog.at_level("INFO"):
        assert sum(ready(flowers).split_sizes.values()) == 60
    assert f"images are not kept for the next run: {path}: Is a directory" in caplog.text
    assert not path.exists()


@in_one_worker
@pytest.mark.slow
def test_a_folder_that_may_not_be_written_is_no_error(flowers, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    flowers.rename(closed / "flowers")
    closed.chmod(0o555)
    images = ("--data", "ImageFolderDataModule", "--data.root", closed / "flowers")
    options = ("--runs", tmp_path / "runs", "--trainer.max_epochs", 1)
    command = Command(tmp_path / "log", "fit", *MODEL, *images, *options)
    status = command.status()
    said = (tmp_path / "log").read_text()
    assert status == 0, said
    assert f"not kept for the next run: {closed}/flowers.28x28-RGB.safetensors: Permission" in said
    assert [path.name for path in closed.iterdir()] == ["flowers"]
