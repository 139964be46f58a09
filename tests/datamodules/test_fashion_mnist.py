import gzip
import hashlib
import shutil
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets.mnist
from lightning.pytorch import LightningModule, Trainer

from lit_course.datamodules import FashionMNISTDataModule, fashion_mnist
from lit_course.datamodules.fashion_mnist import CONTENTS, flip_and_shift

TRAIN, TEST = 100, 40  # images of the little data set that stands in for the real one


def idx(values: np.ndarray) -> bytes:
    """The IDX format: two zero bytes, 8 for uint8, the number of dimensions, the dimensions."""
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">i4").tobytes()
    return header + values.tobytes()


def little_files() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    files = {}
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        images = random.integers(256, size=(count, 28, 28), dtype=np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx(images)
        files[f"{part}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 10)
    return files


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """``raw`` of a little Fashion-MNIST, unpacked, with the constants that belong to it."""
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in little_files().items():
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(fashion_mnist.CONTENTS, name, (len(content), digest))
    return folder


@pytest.fixture
def offline(monkeypatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fail)


def module(folder: Path, **options) -> FashionMNISTDataModule:
    return FashionMNISTDataModule(
        str(folder.parents[1]), **{"val_size": 20, "batch_size": 16, **options}
    )


def ready(folder: Path, **options) -> FashionMNISTDataModule:
    data = module(folder, **options)
    data.prepare_data()
    data.setup("fit")
    return data


def pack(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def everything(loader) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(loader)
    return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])


def test_reads_what_torchvision_reads(folder, offline):
    data = ready(folder, val_size=0, shuffle=False)
    for train, loader in ((True, data.train_dataloader()), (False, data.test_dataloader())):
        reference = torchvision.datasets.FashionMNIST(folder.parents[1], train=train)
        x, y = everything(loader)
        assert x.dtype == torch.uint8
        assert y.dtype == torch.int64
        assert torch.equal(x, reference.data[:, None])
        assert torch.equal(y, reference.targets)
    assert data.schema["class_names"] == reference.classes
    assert data.in_features == 784
    assert data.num_classes == 10


def test_packed_files_are_as_good(folder, offline):
    expected = everything(ready(folder).test_dataloader())[0]
    pack(folder)
    before = sorted(folder.iterdir())
    assert torch.equal(everything(ready(folder).test_dataloader())[0], expected)
    assert sorted(folder.iterdir()) == before  # nothing is written: the folder may be read-only


def test_holdout_is_stratified_and_never_test(folder):
    data = ready(folder)
    assert data.split_sizes == {"train": 80, "val": 20, "test": 40}
    assert everything(data.val_dataloader())[1].bincount().tolist() == [2] * 10
    assert data.class_counts.tolist() == [8] * 10
    official, _ = everything(data.test_dataloader())
    seen = torch.cat([everything(data.train_dataloader())[0], everything(data.val_dataloader())[0]])
    assert len(torch.cat([seen, official]).unique(dim=0)) == TRAIN + TEST


def test_validation_on_the_test_split_only_by_name(folder):
    data = ready(folder, validate_on="test")
    assert data.split_sizes == {"train": 100, "val": 40, "test": 40}
    val, test = data.val_dataloader(), data.test_dataloader()
    assert torch.equal(everything(val)[0], everything(test)[0])
    with pytest.raises(ValueError, match="validate_on must be 'holdout' or 'test', found 'train'"):
        module(folder, validate_on="train")


def test_prediction_takes_the_test_images_in_order(folder):
    data = ready(folder)
    rows = torch.cat([extras["row"] for _, _, extras in data.predict_dataloader()])
    assert rows.tolist() == list(range(TEST))


@pytest.mark.parametrize("packed", [False, True])
def test_truncated_file(folder, packed):
    if packed:
        pack(folder)
    name = "train-images-idx3-ubyte"
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(path.read_bytes()[:5000])
    message = rf"{path.name} is truncated .*: 78,416 unpacked bytes expected, [\d,]+ found"
    with pytest.raises(ValueError, match=message):
        ready(folder)


def test_damaged_files(folder):
    path = folder / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path.name} is damaged .* another SHA-256"):
        ready(folder)
    path.write_bytes(content + b"more")
    with pytest.raises(ValueError, match="bytes expected, more found"):
        ready(folder)
    path.unlink()
    path.with_suffix(".gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=f"{path.name}.gz is damaged .*incorrect header"):
        ready(folder)


def assert_says_how_to_get_it(error: Exception, folder: Path) -> None:
    message = str(error)
    assert "\n" not in message
    assert str(folder) in message
    assert all(name in message for name in CONTENTS)
    assert "github.com/zalandoresearch/fashion-mnist" in message


def test_offline(folder, offline):
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=r"download failed: .*no network") as error:
        module(folder).prepare_data()
    assert_says_how_to_get_it(error.value, folder)


def test_download_switched_off(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="download is switched off") as error:
        module(folder, download=False).prepare_data()
    assert_says_how_to_get_it(error.value, folder)


def test_setup_without_the_files(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"call prepare_data\(\) first") as error:
        module(folder).setup("fit")
    assert_says_how_to_get_it(error.value, folder)


def test_downloads_with_torchvision_what_is_missing(folder, monkeypatch):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    asked = []

    def download(url: str, download_root: str, filename: str, md5: str) -> None:
        asked.append(filename)
        name = filename.removesuffix(".gz")
        (Path(download_root) / name).write_bytes(files[name])

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", download)
    assert ready(folder).split_sizes["test"] == TEST
    assert sorted(asked) == sorted(f"{name}.gz" for name in CONTENTS)
    module(folder).prepare_data()
    assert len(asked) == 4


class Recorder(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[str, list[torch.Tensor]] = {"train": [], "val": []}

    def training_step(self, batch, batch_idx):
        self.seen["train"].append(batch[0])
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.seen["val"].append(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("augment", [False, True])
def test_augments_training_batches_only(folder, augment):
    recorder = Recorder()
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = module(folder, augment=augment, shuffle=False)
    trainer.fit(recorder, datamodule=data)
    train, _ = everything(data.train_dataloader())
    val, _ = everything(data.val_dataloader())
    seen = torch.cat(recorder.seen["train"])
    assert seen.shape == train.shape
    assert seen.dtype == torch.uint8
    assert torch.equal(seen, train) is not augment
    assert torch.equal(torch.cat(recorder.seen["val"])[-len(val) :], val)


def test_flip_and_shift_draws_for_each_image():
    image = torch.arange(1, 37, dtype=torch.uint8).reshape(1, 1, 6, 6)
    padded = torch.nn.functional.pad(image, [2] * 4)
    mirrored = torch.nn.functional.pad(image.flip(-1), [2] * 4)
    possible = {
        tuple(each[0, 0, down : down + 6, right : right + 6].flatten().tolist())
        for each in (padded, mirrored)
        for down in range(5)
        for right in range(5)
    }
    torch.manual_seed(0)
    results = flip_and_shift(image.expand(2000, 1, 6, 6))
    assert results.shape == (2000, 1, 6, 6)
    assert results.dtype == torch.uint8
    assert {tuple(each.flatten().tolist()) for each in results} == possible
    torch.manual_seed(0)
    assert torch.equal(flip_and_shift(image.expand(2000, 1, 6, 6)), results)


def test_flip_and_shift_moves_channels_together_and_leaves_its_input():
    images = torch.rand(8, 1, 6, 7).expand(8, 3, 6, 7).contiguous()
    before = images.clone()
    results = flip_and_shift(images)
    assert torch.equal(results[:, :1].expand_as(results), results)
    assert torch.equal(images, before)


@pytest.fixture(scope="module")
def real(shared_data) -> FashionMNISTDataModule:
    data = FashionMNISTDataModule(str(shared_data), download=False)
    data.prepare_data()
    data.setup("fit")
    return data


def test_the_real_files(real):
    assert real.split_sizes == {"train": 55_000, "val": 5_000, "test": 10_000}
    assert real.class_counts.tolist() == [5_500] * 10
    images, labels = everything(real.test_dataloader())
    assert images.shape == (10_000, 1, 28, 28)
    assert labels.bincount().tolist() == [1_000] * 10
    assert labels[:5].tolist() == [9, 2, 1, 1, 6]


def test_the_real_mean_is_the_known_one(real):
    assert abs(real.train_statistics.mean.mean() - 0.2860) < 0.0005
