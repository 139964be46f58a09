"""Supervised learning with PyTorch Lightning: sound baselines from one command or one import.

A tour in four files, in this order:

1. ``cli.py``: what ``lit-course fit --config FILE`` does, ``config_cli.py`` and
   ``trainer_cli.py`` behind it.
2. ``configs/mlp_digits.yaml``: a whole run in a page.
3. ``modules/mlp_classifier.py``: a LightningModule that declares network, loss and metrics; how
   it is trained and measured is written once, in ``modules/base.py``.
4. ``datamodules/sklearn_tables.py``: a data set in memory; ``datamodules/batches.py`` cuts it.

The modules work with any Trainer and any loader of ``(x, y)``:

>>> import torch
>>> from lit_course import MLPClassifier
>>> model = MLPClassifier(in_features=4, num_classes=3, hidden_features=[8])
>>> model(torch.rand(2, 4)).shape
torch.Size([2, 3])

``load`` gives a trained one back: ``lit_course.load(run_or_checkpoint).predict(x)``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_course.datamodules import (
        ArrayDataModule,
        CSVDataModule,
        DataFrameDataModule,
        DiabetesDataModule,
        DigitsDataModule,
        FashionMNISTDataModule,
        ImageFolderDataModule,
        RollerCoasterDataModule,
        SVMLightDataModule,
        SyntheticQueriesDataModule,
    )
    from lit_course.loading import load
    from lit_course.modules import LinearRegressor, MLPClassifier, MLPRegressor, Ranker

__all__ = [
    "ArrayDataModule",
    "CSVDataModule",
    "DataFrameDataModule",
    "DiabetesDataModule",
    "DigitsDataModule",
    "FashionMNISTDataModule",
    "ImageFolderDataModule",
    "LinearRegressor",
    "MLPClassifier",
    "MLPRegressor",
    "Ranker",
    "RollerCoasterDataModule",
    "SVMLightDataModule",
    "SyntheticQueriesDataModule",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: ``import lit_course`` alone costs nothing."""
    if name == "__version__":
        return import_module("importlib.metadata").version("lit-course")
    if name not in __all__:
        raise AttributeError(f"module 'lit_course' has no attribute {name!r}")
    room = "datamodules" if name.endswith("DataModule") else "modules"
    room = "loading" if name == "load" else room
    return getattr(import_module(f"lit_course.{room}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
