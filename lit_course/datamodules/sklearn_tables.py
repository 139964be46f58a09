"""The tables that scikit-learn brings along: no download, no file."""

from __future__ import annotations

import torch

from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.samples import Samples, Split


class DigitsDataModule(SupervisedDataModule):
    """Handwritten digits: 1,797 images of 8×8 pixels as 64 features, 10 classes.

    ``sklearn.datasets.load_digits``, the test set of the UCI "Optical Recognition of Handwritten
    Digits" data. Pixels are 0..16.

    Args:
        batch_size: Rows per batch of training; evaluation takes four times as many.
        val_size: Rows held out for validation: a fraction, or an integer count; 0 for none.
        test_size: Rows held out for testing, in the same way.
        shuffle: Whether the training rows come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the split and of the order.

    Attributes:
        image_shape: Channels, height and width of what the features are, for figures.
    """

    image_shape = (1, 8, 8)

    def __init__(
        self,
        *,
        batch_size: int = 64,
        val_size: int | float = 0.15,
        test_size: int | float = 0.15,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            val_size=val_size,
            test_size=test_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
        )

    def load(self) -> dict[str, Split]:
        """Read the table and cut it."""
        from sklearn.datasets import load_digits  # here: it takes a second to import

        table = load_digits()
        return self.cut(
            Samples(
                x=torch.tensor(table.data, dtype=torch.float32),
                y=torch.tensor(table.target, dtype=torch.int64),
                num_classes=len(table.target_names),
                feature_names=list(table.feature_names),
                class_names=[str(digit) for digit in table.target_names],
                target_names=["digit"],
            )
        )


class DiabetesDataModule(SupervisedDataModule):
    """Diabetes: 442 patients, 10 features, disease progression after one year (25..346).

    ``sklearn.datasets.load_diabetes(scaled=False)``: features in their original units, from Efron,
    Hastie, Johnstone and Tibshirani (2004), "Least Angle Regression".

    Args:
        batch_size: Rows per batch of training; evaluation takes four times as many.
        val_size: Rows held out for validation: a fraction, or an integer count; 0 for none.
        test_size: Rows held out for testing, in the same way.
        shuffle: Whether the training rows come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the split and of the order.
    """

    def __init__(
        self,
        *,
        batch_size: int = 64,
        val_size: int | float = 0.1,
        test_size: int | float = 0.2,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            val_size=val_size,
            test_size=test_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
        )

    def load(self) -> dict[str, Split]:
        """Read the table and cut it."""
        from sklearn.datasets import load_diabetes  # here: it takes a second to import

        table = load_diabetes(scaled=False)
        return self.cut(
            Samples(
                x=torch.tensor(table.data, dtype=torch.float32),
                y=torch.tensor(table.target, dtype=torch.float32),
                feature_names=list(table.feature_names),
                target_names=["disease_progression"],
            )
        )
