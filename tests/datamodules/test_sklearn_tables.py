import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits

from lit_course.datamodules import DiabetesDataModule, DigitsDataModule, SupervisedDataModule


def everything(data: SupervisedDataModule) -> tuple[torch.Tensor, torch.Tensor]:
    data.setup("fit")
    xs, ys = zip(*data.train_dataloader(), strict=True)
    return torch.cat(xs), torch.cat(ys)


def test_digits():
    x, y = everything(DigitsDataModule(val_size=0, test_size=0, shuffle=False))
    np.testing.assert_array_equal(x.numpy(), load_digits().data)
    np.testing.assert_array_equal(y.numpy(), load_digits().target)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64


def test_digits_says_what_it_is():
    data = DigitsDataModule()
    data.setup("fit")
    assert data.split_sizes == {"train": 1257, "val": 270, "test": 270}
    assert data.in_features == 64
    assert data.num_classes == 10
    assert data.schema["class_names"] == list("0123456789")
    assert data.schema["feature_names"][:2] == ["pixel_0_0", "pixel_0_1"]
    assert (data.class_counts / 1257 - 0.1).abs().max() < 0.005


def test_diabetes():
    x, y = everything(DiabetesDataModule(val_size=0, test_size=0, shuffle=False))
    reference = load_diabetes(scaled=False)
    np.testing.assert_array_equal(x.numpy(), reference.data.astype(np.float32))
    np.testing.assert_array_equal(y.numpy(), reference.target.astype(np.float32))


def test_diabetes_says_what_it_is():
    data = DiabetesDataModule()
    data.setup("fit")
    assert data.split_sizes == {"train": 310, "val": 44, "test": 88}
    assert data.num_classes is None
    assert data.schema["feature_names"][0] == "age"
    assert data.schema["target_names"] == ["disease_progression"]
