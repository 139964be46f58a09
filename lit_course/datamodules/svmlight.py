"""Ranking data in files of SVMlight's format, as LETOR and LightGBM have them."""

from __future__ import annotations

from lit_course.datamodules.base import SupervisedDataModule
from lit_course.datamodules.samples import Samples, Split
from lit_course.datamodules.svmlight_files import read_svmlight


class SVMLightDataModule(SupervisedDataModule):
    """Items of queries in files, a line each: ``relevance qid:query index:value ... # comment``.

    Relevance is graded, from 0 (not relevant). The items of a query stand together; where lines
    have no ``qid:``, LightGBM's ``<path>.query`` says how many items each query has. Features that
    a line does not name are 0: sparse in the file, float32 ``(N, D)`` in memory, where it must fit.
    Queries are held out as a whole.

    Args:
        path: File of the items.
        query_path: File of the numbers of items of the queries; ``<path>.query`` where it is
            needed and not given.
        val_path: File of the validation items; else they are cut from ``path``.
        val_query_path: As ``query_path``, of ``val_path``.
        test_path: File of the test items; else they are cut from ``path``.
        test_query_path: As ``query_path``, of ``test_path``.
        predict_path: File of new items for ``predict``. Their relevance is not read and may be
            missing; a trained model needs no other file then.
        predict_query_path: As ``query_path``, of ``predict_path``.
        zero_based: Whether features count from 0; else index 0 is refused.
        batch_size: Queries per batch of training; evaluation takes four times as many.
        val_size: Queries held out for validation: a fraction, or an integer count; 0 for none. Not
            used if there is a ``val_path``.
        test_size: Queries held out for testing, in the same way.
        shuffle: Whether the training queries come in a new order each epoch.
        drop_last: Whether training leaves out a last batch that is smaller.
        seed: Seed of the split and of the order.
    """

    def __init__(
        self,
        path: str,
        query_path: str | None = None,
        *,
        val_path: str | None = None,
        val_query_path: str | None = None,
        test_path: str | None = None,
        test_query_path: str | None = None,
        predict_path: str | None = None,
        predict_query_path: str | None = None,
        zero_based: bool = False,
        batch_size: int = 16,
        val_size: int | float = 0.1,
        test_size: int | float = 0.1,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            val_size=0 if val_path else val_size,
            test_size=0 if test_path else test_size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
        )
        self.path = path
        self.query_path = query_path
        self.val_path = val_path
        self.val_query_path = val_query_path
        self.test_path = test_path
        self.test_query_path = test_query_path
        self.predict_path = predict_path
        self.predict_query_path = predict_query_path
        self.zero_based = zero_based

    def load(self) -> dict[str, Split]:
        """Read the files; cut the splits that have none out of the training queries."""
        known = self._known_features()
        if self._verb == "predict" and self.predict_path is not None and known is not None:
            new = self._read("predict", self.predict_path, known)
            return {"predict": Split(new)}
        train = self._read("train", self.path, known)
        others = {"val": self.val_path, "test": self.test_path, "predict": self.predict_path}
        given = {
            name: Split(self._read(name, path, train.in_features))
            for name, path in others.items()
            if path is not None
        }
        return {**self.cut(train), **given}

    def _known_features(self) -> int | None:
        """How many features a trained model knows."""
        names = self._model_schema.get("feature_names")
        return None if names is None else len(names)

    def _read(self, name: str, path: str, num_features: int | None) -> Samples:
        items = read_svmlight(
            path,
            getattr(self, "query_path" if name == "train" else f"{name}_query_path"),
            num_features=num_features,
            zero_based=self.zero_based,
            with_relevance=name != "predict",
        )
        first = 0 if self.zero_based else 1
        return Samples(
            items.x,
            items.relevance,
            feature_names=[str(first + column) for column in range(items.x.shape[1])],
            target_names=["relevance"],
            group=items.group,
            query_names=items.query_names,
        )
