"""The abstract data module: whole tensors in, seeded splits, four loaders out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lit_course.datamodules.batches import Batches
from lit_course.datamodules.folds import Fold
from lit_course.datamodules.query_batches import QueryBatches
from lit_course.datamodules.samples import Samples, Split
from lit_course.datamodules.splits import split_queries, split_rows
from lit_course.scaling import ColumnStatistics, rows_per_piece

EVALUATION = 4  # times as many rows as in a batch of training


class SupervisedDataModule(LightningDataModule, ABC):
    """A data set for supervised learning, held in memory as whole tensors.

    A subclass implements :meth:`load`. Batches are ``(x, y)``, with ``x`` raw, of weighted samples
    ``(x, y, {"weight": ...})``; prediction batches have the row numbers, ``(x, y, {"row": ...})``,
    and keep the order of the data set. Of queries a batch holds whole ones, with the number of
    each row's query, ``{"group": ...}``. After :meth:`setup` the data says of itself what a model
    wants to know: ``in_features``, ``num_classes``, ``out_features``, ``schema``,
    ``train_statistics``, ``train_targets``, ``class_counts``, ``split_sizes``, ``split_queries``,
    ``train_weight``.
    Weights change none of the others.

    Args:
        batch_size: Rows per batch of training, or queries where there are any; of several
            processes for each one. Evaluation takes four times as many, as no gradients are kept.
        val_size: Rows held out for validation: a fraction, or an integer count; 0 for none.
        test_size: Rows held out for testing, in the same way.
        shuffle: Whether the training rows come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the split and of the order.

    Attributes:
        fold: For a cross-validation, the fold to test on instead of ``test_size``; to be set before
            :meth:`setup`.
        row_names: A name for each row of the data set, known after :meth:`setup`; predictions are
            written with it. ``None`` where rows have only numbers.
    """

    fold: Fold | None = None
    row_names: list[str] | None = None

    def __init__(
        self,
        *,
        batch_size: int = 64,
        val_size: int | float = 0.1,
        test_size: int | float = 0.1,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {batch_size}.")
        if not isinstance(seed, int) or not -(2**63) <= seed < 2**63:
            raise ValueError(f"seed must be an integer of 64 bits, found {seed}.")
        self.batch_size = batch_size
        self.val_size = val_size
        self.test_size = test_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        # What a trained model knows of its data; without a Trainer that has the model, to be set.
        self.known_schema: dict[str, Any] = {}
        self._verb = "None"
        self._splits: dict[str, Split] | None = None
        self._held_out: Tensor | None = None

    @abstractmethod
    def load(self) -> dict[str, Split]:
        """Read the data set and return its ``"train"``, ``"val"`` and ``"test"`` splits.

        One data set is made into three splits with :meth:`cut`. Rows that are there to be predicted
        only are a split ``"predict"``. It is called once per process.
        """

    def cut(self, samples: Samples) -> dict[str, Split]:
        """Cut a data set by ``val_size``, ``test_size`` and ``seed``, stratified by class.

        Items of queries are cut by query, and sizes count queries.
        """
        labels = None if samples.num_classes is None else samples.y
        if self.fold is not None:
            rows = self.fold.split(
                len(samples),
                val_size=self.val_size,
                seed=self.seed,
                labels=labels,
                queries=samples.group,
            )
            self._held_out = rows["test"]
        elif samples.group is not None:
            rows = split_queries(
                samples.group, val_size=self.val_size, test_size=self.test_size, seed=self.seed
            )
        else:
            rows = split_rows(
                len(samples),
                val_size=self.val_size,
                test_size=self.test_size,
                seed=self.seed,
                labels=labels,
            )
        return {name: Split(samples, numbers) for name, numbers in rows.items()}

    def setup(self, stage: str | None = None) -> None:
        """Load the data once; refuse a stage that has no rows to work on."""
        self._verb = verb = str(getattr(stage, "value", stage))  # the Trainer's stage is an enum
        # New rows alone were enough to predict.
        if self._splits is None or (verb != "predict" and "train" not in self._splits):
            self._splits = self.load()
            if self.fold is not None and self._splits["test"].rows is not self._held_out:
                raise ValueError(
                    f"{type(self).__name__} has a test split of its own, and cross-validation "
                    "tests on every row once: give it data that is cut from one data set"
                )
        needed = {"validate": "val", "test": "test"}.get(verb)
        if needed is not None and len(self._splits[needed]) == 0:
            raise ValueError(
                f"{type(self).__name__} has no rows to {verb} on: hold some out with "
                f"{needed}_size (a fraction or a count), or choose data that has them."
            )
        if verb == "fit":
            self._check_training_rows(len(self._splits["train"]))
        for name in ("train", "val") if verb == "fit" else filter(None, [needed]):
            _check_weight(name, self._splits[name].weight)

    def _check_training_rows(self, rows: int) -> None:
        if rows < 2:
            raise ValueError(
                f"At least 2 rows are needed to learn from, found {rows} to train on: give more "
                "data, or hold out less with val_size and test_size."
            )
        counts = self.class_counts
        if counts is not None and (absent := (counts == 0).nonzero().flatten().tolist()):
            names = self.schema["class_names"] or range(len(counts))
            listed = ", ".join(str(names[c]) for c in absent[:5]) + ", …" * (len(absent) > 5)
            rank_zero_warn(
                f"{len(absent)} of {len(counts)} classes have no training row: {listed}; labels "
                "count from 0 without gaps"
            )

    def train_dataloader(self) -> Batches:
        """Batches of the training split, in a new order each epoch if ``shuffle``."""
        # Trainer(overfit_batches=...) can switch off the shuffling of torch's own loader only.
        overfitting = getattr(self.trainer, "overfit_batches", 0) > 0
        return self._batches(
            self._loaded("train_dataloader()")["train"],
            shuffle=self.shuffle and not overfitting,
            drop_last=self.drop_last,
            in_step=True,
            first_batch=self._resumed_at,
        )

    def _resumed_at(self) -> int:
        """How many batches of this epoch were taken before it was interrupted."""
        loop = None if self.trainer is None else self.trainer.fit_loop
        if loop is None or not loop.restarted_mid_epoch:
            return 0
        return int(loop.epoch_loop.batch_progress.current.ready)

    def val_dataloader(self) -> Batches | list[Batches]:
        """Batches of the validation split; none if it is empty."""
        split = self._loaded("val_dataloader()")["val"]
        return self._batches(split) if len(split) > 0 else []

    def test_dataloader(self) -> Batches:
        """Batches of the test split."""
        return self._batches(self._loaded("test_dataloader()")["test"])

    def predict_dataloader(self) -> Batches:
        """Batches with row numbers: of ``"predict"``, else of the test split, else of all rows."""
        return self._batches(self._predicted("predict_dataloader()"), with_rows=True)

    def _predicted(self, attribute: str) -> Split:
        splits = self._loaded(attribute)
        name = self.predicted_split
        return Split(splits["train"].samples) if name == "all" else splits[name]

    @property
    def predicted_split(self) -> str:
        """Which rows are predicted: ``predict``, given for it, else ``test``, else ``all``."""
        splits = self._loaded("predicted_split")
        found = (name for name in ("predict", "test") if len(splits.get(name, ())) > 0)
        return next(found, "all")

    def rows_of(self, split: str) -> Batches:
        """All rows of ``"train"``, ``"val"`` or ``"test"`` in their order, with their weights.

        Of several processes each gets them all.
        """
        part = self._loaded("rows_of()")[split]
        x, y, weight = part.samples.x, part.samples.y, part.samples.weight
        rows = rows_per_piece(x.shape[1:])
        return Batches(x, y, part.rows, batch_size=rows, in_step=False, weight=weight)

    @property
    def predicts_known(self) -> bool:
        """Whether there are targets to compare predictions with."""
        labelled = self._predicted("predicts_known").samples.labelled
        return labelled is None or bool(labelled.any())

    @property
    def in_features(self) -> int:
        """Number of features of a sample after flattening."""
        return self._any_samples("in_features").in_features

    @property
    def num_classes(self) -> int | None:
        """Number of classes; ``None`` for a regression."""
        return self._any_samples("num_classes").num_classes

    @property
    def out_features(self) -> int | None:
        """Number of targets; ``None`` for a classification."""
        samples = self._any_samples("out_features")
        return samples.y.shape[1:].numel() if samples.num_classes is None else None

    @property
    def schema(self) -> dict[str, Any]:
        """``feature_names``, ``class_names`` and ``target_names``: lists of strings or ``None``."""
        return self._any_samples("schema").schema

    @property
    def split_sizes(self) -> dict[str, int]:
        """Number of rows of each split."""
        return {name: len(split) for name, split in self._loaded("split_sizes").items()}

    @property
    def split_queries(self) -> dict[str, list[str]]:
        """Names of the queries of each split, in its order; empty where there are no queries."""
        found = {}
        for name, split in self._loaded("split_queries").items():
            if (queries := split.queries) is not None:
                names = split.samples.query_names
                numbers = queries.tolist()
                found[name] = [str(n) if names is None else names[n] for n in numbers]
        return found

    @property
    def query_names(self) -> list[str] | None:
        """Name of each query by its number in predict batches; ``None`` where it has no other."""
        return self._predicted("query_names").samples.query_names

    @cached_property
    def train_weight(self) -> float | None:
        """Sum of the weights of the training split; ``None`` if all weigh alike."""
        weight = self._loaded("train_weight")["train"].weight
        return None if weight is None else float(weight.double().sum())

    @cached_property
    def train_statistics(self) -> ColumnStatistics:
        """Count, mean and deviation of each feature, over the training split only."""
        split = self._loaded("train_statistics")["train"]
        # In pieces, because indexing copies: the split is never in memory twice.
        x, y = split.samples.x, split.samples.y
        pieces = Batches(x, y, split.rows, batch_size=rows_per_piece(x.shape[1:]))
        statistics = ColumnStatistics()
        for piece, *_ in pieces:
            statistics.update(piece)
        return statistics

    @property
    def train_targets(self) -> Tensor:
        """Targets of the training split."""
        return self._loaded("train_targets")["train"].y

    @cached_property
    def class_counts(self) -> Tensor | None:
        """Number of training rows of each class, int64; ``None`` for a regression."""
        split = self._loaded("class_counts")["train"]
        if split.samples.num_classes is None:
            return None
        return torch.bincount(split.y, minlength=split.samples.num_classes)

    def _batches(
        self,
        split: Split,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        with_rows: bool = False,
        in_step: bool = False,
        first_batch: Callable[[], int] = int,
    ) -> Batches:
        samples = split.samples
        batches: Callable[..., Batches]
        if samples.group is not None:
            batches = partial(QueryBatches, samples.x, samples.y, samples.group, split.queries)
        else:
            batches = partial(Batches, samples.x, samples.y, split.rows, weight=samples.weight)
        return batches(
            batch_size=self.batch_size * (1 if in_step else EVALUATION),
            shuffle=shuffle,
            drop_last=drop_last,
            seed=self.seed,
            with_rows=with_rows,
            rank=getattr(self.trainer, "global_rank", 0),  # without a Trainer there is one process
            world_size=getattr(self.trainer, "world_size", 1),
            in_step=in_step,
            first_batch=first_batch,
        )

    @property
    def _model_schema(self) -> dict[str, Any]:
        """What a trained model knows of its data; empty if there is none."""
        model = getattr(self.trainer, "lightning_module", None)
        return getattr(model, "schema", None) or self.known_schema

    def _any_samples(self, attribute: str) -> Samples:
        """What all splits have in common is said by any of them."""
        return next(iter(self._loaded(attribute).values())).samples

    def _loaded(self, attribute: str) -> dict[str, Split]:
        if self._splits is None:
            raise RuntimeError(
                f"{type(self).__name__}.{attribute} is known once the data is loaded: "
                'call setup("fit") first.'
            )
        return self._splits


def _check_weight(name: str, weight: Tensor | None) -> None:
    """Refuse a split whose mean loss would be one over nothing."""
    if weight is not None and len(weight) > 0 and not weight.any():
        raise ValueError(
            f"All {len(weight)} rows of the {name} split have weight 0: there is no mean loss of "
            "them. Give some a weight above 0, or hold out other rows with seed or "
            "val_size and test_size."
        )
