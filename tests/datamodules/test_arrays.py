import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from lit_course.datamodules import ArrayDataModule

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
LABELS = RNG.integers(3, size=60)


def loaded(*args, **options) -> ArrayDataModule:
    data = ArrayDataModule(*args, **{"val_size": 0, "test_size": 0, "shuffle": False, **options})
    data.setup("fit")
    return data


def everything(data: ArrayDataModule) -> tuple[torch.Tensor, torch.Tensor]:
    xs, ys = zip(*data.train_dataloader(), strict=True)
    return torch.cat(xs), torch.cat(ys)


def test_integers_are_classes():
    data = loaded(X, LABELS.astype(np.int32), feature_names=list("abcd"), class_names=list("xyz"))
    x, y = everything(data)
    np.testing.assert_array_equal(x.numpy(), X.astype(np.float32))
    np.testing.assert_array_equal(y.numpy(), LABELS)
    assert y.dtype == torch.int64
    assert data.num_classes == 3
    assert data.schema["class_names"] == ["x", "y", "z"]
    with pytest.warns(UserWarning, match="4 of 7 classes have no training row: 3, 4, 5, 6"):
        assert loaded(X, LABELS, num_classes=7).class_counts.tolist()[3:] == [0, 0, 0, 0]
    assert loaded(X, LABELS > 0).num_classes == 2


def test_floats_are_a_regression():
    for shape in ((60,), (60, 2)):
        data = loaded(X, RNG.normal(size=shape))
        _, y = everything(data)
        assert y.dtype == torch.float32
        assert y.shape == shape
        assert data.num_classes is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.uint8, torch.uint8),
        (np.float64, torch.float32),
        (np.float16, torch.float32),
        (np.int16, torch.float32),
        (np.uint16, torch.float32),
        (np.bool_, torch.float32),
        (">f8", torch.float32),
    ],
)
def test_uint8_stays_all_else_becomes_float32(given, kept):
    array = (10 * np.abs(X)).astype(given)
    x, _ = everything(loaded(array, LABELS))
    assert x.dtype == kept
    np.testing.assert_array_equal(x.numpy(), array.astype(np.float32))


def test_takes_tensors_and_images():
    images = torch.randint(256, (60, 1, 5, 5), dtype=torch.uint8)
    data = loaded(images, torch.from_numpy(LABELS))
    x, _ = everything(data)
    assert torch.equal(x, images)
    assert data.in_features == 25
    weights = torch.ones(60, 2, requires_grad=True)
    assert not everything(loaded(weights, LABELS))[0].requires_grad
    assert everything(loaded(weights.bfloat16(), LABELS))[0].dtype == torch.float32


def test_takes_read_only_and_strided_arrays():
    frozen = X.astype(np.float32)
    frozen.flags.writeable = False
    for array in (frozen, X.astype(np.float32)[::-1], X.astype(np.float32)[:, ::2]):
        x, _ = everything(loaded(array, LABELS))
        np.testing.assert_array_equal(x.numpy(), array)


def test_arrays_are_left_as_they_are():
    given_x, given_y = X.astype(np.float32), LABELS.copy()
    data = loaded(given_x, given_y, val_size=0.2, test_size=0.2, shuffle=True)
    x, _ = next(iter(data.train_dataloader()))
    x.zero_()
    np.testing.assert_array_equal(given_x, X.astype(np.float32))
    np.testing.assert_array_equal(given_y, LABELS)


def test_reads_npz(tmp_path):
    np.savez(tmp_path / "table.npz", X=X, y=LABELS)
    for path in (tmp_path / "table.npz", str(tmp_path / "table.npz")):
        x, y = everything(loaded(path))
        np.testing.assert_array_equal(x.numpy(), X.astype(np.float32))
        np.testing.assert_array_equal(y.numpy(), LABELS)


WEIGHT = RNG.uniform(size=60)


def test_weights_of_samples(tmp_path):
    np.savez(tmp_path / "table.npz", X=X, y=LABELS, sample_weight=WEIGHT)
    for data in (loaded(X, LABELS, sample_weight=WEIGHT), loaded(tmp_path / "table.npz")):
        for batches in (data.train_dataloader(), data._batches(data._splits["train"])):
            weights = torch.cat([extras["weight"] for _, _, extras in batches])
            np.testing.assert_array_equal(weights.numpy(), WEIGHT.astype(np.float32))
        assert data.train_weight == pytest.approx(WEIGHT.sum())
        assert all("weight" not in extras for _, _, extras in data.predict_dataloader())
    assert loaded(X, LABELS).train_weight is None
    assert loaded(X, LABELS, sample_weight=LABELS + 1).train_weight == (LABELS + 1).sum()


def test_a_split_of_rows_without_weight_is_refused_by_the_stage_that_needs_it():
    rows = {"val_size": 10, "test_size": 10}
    data = ArrayDataModule(X, LABELS, **rows)
    data.setup("fit")
    splits = data._splits
    for name, verbs in {"train": ["fit"], "val": ["fit", "validate"], "test": ["test"]}.items():
        weight = np.ones(60)
        weight[splits[name].rows] = 0
        for verb in ("fit", "validate", "test", "predict"):
            data = ArrayDataModule(X, LABELS, sample_weight=weight, **rows)
            if verb not in verbs:
                data.setup(verb)
                continue
            message = rf"All {len(splits[name])} rows of the {name} split have weight 0"
            with pytest.raises(ValueError, match=message):
                data.setup(verb)


def test_the_command_line_takes_the_path_of_an_npz(tmp_path):
    np.savez(tmp_path / "1.npz", X=X, y=LABELS)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    name = "--data lit_course.datamodules.ArrayDataModule"
    flags = f"--data.X {tmp_path}/1.npz --data.val_size 7 --data.test_size 0.1"
    config = parser.parse_args(f"{name} {flags}".split())
    data = parser.instantiate(config).data
    data.setup("fit")
    assert data.split_sizes == {"train": 47, "val": 7, "test": 6}


def test_sparse_labels_are_no_classes():
    with pytest.raises(ValueError, match="its largest is 500000 in 60 rows"):
        loaded(X, np.full(60, 500_000))


BIG = np.where(np.arange(240).reshape(60, 4) == 9, 1e300, 0.0)


def test_refuses_targets_of_two_kinds():
    with pytest.raises(ValueError, match="Give X and y as arrays"):
        ArrayDataModule("table.npz", LABELS)
    with pytest.raises(ValueError, match="X alone as the path"):
        ArrayDataModule("table.npz", sample_weight=WEIGHT)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X.astype(str), LABELS), {}, "X must hold real numbers, found dtype <U"),
        ((X + 1j, LABELS), {}, "X must hold real numbers, found dtype complex128"),
        ((torch.ones(3, 2) * 1j, LABELS), {}, "X must hold real numbers, found dtype torch.compl"),
        ((X, LABELS.astype(object)), {}, "y must hold real numbers, found dtype object"),
        ((BIG, LABELS), {}, "X holds inf in row 2, column 1"),
        ((X, LABELS - 1), {}, "must be 0..1, found -1 in row"),
        ((X, LABELS.astype(float)), {"num_classes": 3}, "whole numbers: convert them to integers"),
        ((X, LABELS[:, None]), {}, r"must have shape \(N,\), found \(60, 1\)"),
        ((X[:, 0], LABELS), {}, r"found shape \(60,\)"),
        ((X[:0], LABELS[:0]), {}, "At least 1 row and 1 feature"),
        ((X, LABELS), {"feature_names": ["a"]}, "feature_names must have 4 entries"),
        ((X, LABELS), {"sample_weight": WEIGHT - 1}, "not negative, found -0"),
        ((X, LABELS), {"sample_weight": WEIGHT * 1e300}, "must be finite .* found inf in row 0"),
        ((X, LABELS), {"sample_weight": WEIGHT[1:]}, r"shape \(60,\), found \(59,\)"),
        ((X, LABELS), {"sample_weight": ["a"] * 60}, "sample_weight must hold real numbers"),
    ],
)
def test_refuses_bad_arrays(arguments, options, message):
    with pytest.raises(ValueError, match=message) as error:
        loaded(*arguments, **options)
    assert len(str(error.value).splitlines()) <= 5


def test_refuses_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No file .*none\.npz"):
        loaded(tmp_path / "none.npz")
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(ValueError, match=r"one\.npy is not an \.npz file: write one"):
        loaded(tmp_path / "one.npy")
    np.savez(tmp_path / "names.npz", features=X, labels=LABELS)
    with pytest.raises(ValueError, match="named X, and y to learn from, found: features, labels"):
        loaded(tmp_path / "names.npz")
    np.savez(tmp_path / "pickle.npz", X=np.array([{}]), y=LABELS)
    with pytest.raises(ValueError, match="holds an array that cannot be read: Object arrays"):
        loaded(tmp_path / "pickle.npz")
    np.savez(tmp_path / "bits.npz", X=X, y=LABELS)
    content = bytearray((tmp_path / "bits.npz").read_bytes())
    content[500] ^= 255
    (tmp_path / "bits.npz").write_bytes(content)
    with pytest.raises(ValueError, match="holds an array that cannot be read: Bad CRC"):
        loaded(tmp_path / "bits.npz")
