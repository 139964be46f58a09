"""Ranking: a score for each item, by which those of a query are ordered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MetricCollection

from lit_course.dcg import MAX_RELEVANCE, Gain
from lit_course.figures import Chart, Seen, metric_by_query, score_by_relevance
from lit_course.modules.base import ROWS_AT_ONCE
from lit_course.modules.hyperparameters import check_size
from lit_course.modules.perceptron import PerceptronModule, widths
from lit_course.modules.query_batch import begins, unpack_queries
from lit_course.queries import Queries
from lit_course.ranking_losses import make_ranking_loss
from lit_course.ranking_metrics import (
    EmptyAction,
    check_ranking_metrics,
    ranking_metrics,
    values_of_queries,
)
from lit_course.schedules import Interval


class Ranker(PerceptronModule):
    """Linear or multilayer scorer of items, trained so that their order within a query is right.

    Takes raw features, ``(B, D)``, scales them itself, and gives scores ``(B,)``: the higher, the
    earlier in its query. Batches are ``(x, y, {"group": g})`` of whole queries: ``y`` ``(B,)`` is
    the relevance, 0 or more, and ``g`` ``(B,)`` the number of the query, whose items stand
    together. Items have no weights.

    Reports loss, MRR, NDCG@k, MAP@k, precision@k and recall@k of every split, each the mean over
    its queries. Items of equal scores have no order there, see ``ranking_metrics.py``. ``predict``
    gives for each item its query, its number in it (from 0, in the order of the data), its score
    and its rank (from 1; equal scores in the order of the data).

    Args:
        in_features: Features per item; left out, the data module says it.
        hidden_features: Width of each hidden layer; ``[]`` is a linear scorer.
        activation: relu, gelu, silu, elu, leaky_relu, mish, selu, sigmoid, tanh or identity.
        normalization: ``batch`` or ``layer`` after every hidden linear layer, or null.
        dropout: Probability of dropping a hidden unit in training, in [0, 1).
        initialization: kaiming_normal, kaiming_uniform, xavier_normal, xavier_uniform or
            orthogonal for the weights, with biases at zero; null keeps torch's own.
        standardize: Subtract the training mean and divide by the training deviation of every
            feature, inside the network.
        one_hot_levels: The most levels that a category of a table may have to get an input for
            each; of more it gets a learned vector.
        bins: Bins between quantiles of the training split by which each feature is encoded, so
            that a linear scorer too bends with it, see ``piecewise.py``; 0 takes it as it is.
        top_k: Cut-offs of the metrics.
        gain: What an item is worth to NDCG, ``linear`` for its relevance, ``exponential`` for
            2^relevance - 1; of the losses ``lambdarank`` and ``approx_ndcg`` too.
        relevance_threshold: The least relevance of an item that is relevant to MRR, MAP, precision
            and recall, which know no grades.
        empty_target_action: What a query without a relevant item counts in these, and one without
            any gain in NDCG: ``neg`` 0, ``pos`` 1, ``skip`` nothing.
        loss: ``lambdarank``, ``ranknet``, ``listnet``, ``approx_ndcg``, or ``mse`` of the relevance
            itself. All are means over queries.
        loss_options: Options of the loss: ``sigma`` of ``ranknet`` and ``lambdarank``, ``k`` of
            ``lambdarank``, ``alpha`` of ``approx_ndcg``.
        optimizer: Name of an optimizer of ``torch.optim``.
        lr: Learning rate.
        optimizer_options: Its other options, as torch names them.
        lr_scheduler: Name of a schedule of ``torch.optim.lr_scheduler``, or ``LinearDecay``.
        lr_scheduler_options: Its options, as torch names them; lengths may be left out.
        lr_interval: Whether the schedule counts epochs or optimizer steps. ReduceLROnPlateau
            counts validations.
        lr_frequency: Step the schedule at every n-th of these.
        warmup_steps: The first updates run at (t + 1) / warmup_steps of the rate.
        monitor: What drives plateau schedule, best checkpoint and early stopping, such as
            ``val/ndcg@5``; null is ``val/loss``, without validation data ``train/loss``.
        freeze: Glob patterns over parameter names, such as ``network.linear1.*``.
        init_from: Checkpoint, or a run's folder, to start the weights from; what does not fit
            starts new.
        schema: Names of features, filled in from the data module.

    Raises:
        ValueError: If arguments are unknown or contradict each other.
    """

    figure_rows = None  # figures are of whole queries

    def __init__(
        self,
        in_features: int | None = None,
        hidden_features: list[int] = [],  # noqa: B006  # read only; shown by --help
        activation: str = "relu",
        normalization: Literal["batch", "layer"] | None = None,
        dropout: float = 0.0,
        initialization: str | None = None,
        standardize: bool = True,
        one_hot_levels: int = 20,
        bins: int = 0,
        top_k: list[int] = [1, 3, 5],  # noqa: B006  # read only
        gain: Gain = "exponential",
        relevance_threshold: float = 1.0,
        empty_target_action: EmptyAction = "neg",
        loss: str = "lambdarank",
        loss_options: dict[str, Any] | None = None,
        optimizer: str = "Adam",
        lr: float = 1e-3,
        optimizer_options: dict[str, Any] | None = None,
        lr_scheduler: str | None = None,
        lr_scheduler_options: dict[str, Any] | None = None,
        lr_interval: Interval = "epoch",
        lr_frequency: int = 1,
        warmup_steps: int = 0,
        monitor: str | None = None,
        freeze: list[str] = [],  # noqa: B006  # read only
        init_from: str | None = None,
        schema: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            lr=lr,
            optimizer_options=optimizer_options,
            lr_scheduler=lr_scheduler,
            lr_scheduler_options=lr_scheduler_options,
            lr_interval=lr_interval,
            lr_frequency=lr_frequency,
            warmup_steps=warmup_steps,
            monitor=monitor,
            freeze=freeze,
            init_from=init_from,
            schema=schema,
        )
        self.save_hyperparameters(logger=False)
        self.in_features = in_features
        self.hidden_features = widths(hidden_features)
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.initialization = initialization
        self.standardize = standardize
        self.one_hot_levels = one_hot_levels
        self.bins = bins
        self.top_k = list(top_k)
        self.gain = gain
        self.relevance_threshold = relevance_threshold
        self.empty_target_action = empty_target_action
        self.loss_name = loss
        self.loss_options = dict(loss_options or {})
        # Refuse names, sizes and options now.
        self.check_layers()
        check_size("bins", bins, 0)
        check_ranking_metrics(self.top_k, relevance_threshold, empty_target_action)
        make_ranking_loss(loss, self.loss_options, gain)
        self.declare()

    def configure_network(self) -> nn.Module:
        """An ``MLP`` from raw features to one score."""
        return self.make_layers(1, bins=self.bins)

    @classmethod
    def weight_shapes(cls, arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights of an ``MLP``."""
        if cls.configure_network is not Ranker.configure_network:
            return {}
        return cls.layer_shapes({"hidden_features": [], **arguments}, 1)

    def configure_loss(self) -> nn.Module:
        """The loss by name: from scores ``(B,)`` and targets ``(B, 2)`` to the mean over queries.

        A target holds the relevance of an item, and whether a query begins with it (1 or 0).
        """
        return make_ranking_loss(self.loss_name, self.loss_options, self.gain)

    def configure_metrics(self) -> MetricCollection:
        """MRR, and NDCG, MAP, precision and recall at every cut-off."""
        return ranking_metrics(
            self.top_k, self.gain, self.relevance_threshold, self.empty_target_action
        )

    # ------------------------------------------------------------- targets

    def read(self, batch: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inputs, and targets as ``configure_loss`` has them, ``(B, 2)`` float64."""
        x, relevance, group = unpack_queries(batch)
        if relevance.shape not in ((len(group),), (len(group), 1)):
            raise ValueError(
                f"relevance must be of shape ({len(group)},), found {tuple(relevance.shape)}: "
                "give one number for each item"
            )
        return x, torch.stack([relevance.flatten().double(), begins(group).double()], 1), None

    def check_target(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Targets as they are.

        Raises:
            ValueError: If the network gives anything but one score for each.
        """
        if outputs.shape != y.shape[:1]:
            raise ValueError(
                f"the network must give one score for each of {len(y)} items, ({len(y)},) or "
                f"({len(y)}, 1), found {tuple(outputs.shape)}"
            )
        return y

    def check_values(self, y: Tensor) -> None:
        """Refuse relevance that is negative, not finite, or has no gain."""
        relevance = y if y.ndim == 1 else y[:, 0]  # as in a batch, or as in a target
        wrong = ~(relevance.isfinite() & (relevance >= 0))
        if wrong.any():
            raise ValueError(
                f"relevance must be 0 or more and finite, found {float(relevance[wrong][0]):g}: "
                "a higher one stands for an item that is wanted more"
            )
        if self.gain == "exponential" and (relevance > MAX_RELEVANCE).any():
            raise ValueError(
                f"a gain of 2^relevance - 1 is for grades up to {MAX_RELEVANCE}, found "
                f"{float(relevance.max()):g}: set gain to linear"
            )

    def mean_loss(
        self, outputs: Tensor, y: Tensor, sample_weight: Tensor | None
    ) -> tuple[Tensor, Tensor | int]:
        """The mean loss of the queries of a batch, and their number."""
        if not len(y):  # of several processes one may have nothing to evaluate
            return outputs.sum(), 0
        return self.loss(outputs, y), y[:, 1].sum()

    # ------------------------------------------------------------- answers

    def forward(self, x: Tensor) -> Tensor:
        """Raw features ``(B, ...)`` to scores ``(B,)``."""
        scores = super().forward(x)
        return scores.squeeze(1) if scores.shape[1:] == (1,) else scores

    def answer(self, outputs: Tensor) -> Tensor:
        """Scores, as they are."""
        return outputs

    def answers(self, outputs: Tensor) -> dict[str, Tensor]:
        """Scores alone; ranks are of a query, see ``predict_step``."""
        return {"score": outputs}

    def predict(self, x: Any, batch_size: int = ROWS_AT_ONCE) -> NDArray[Any]:
        """The score of each item ``(N,)`` float32: of one query, the highest is wanted most.

        Arguments and errors are those of ``answers_to``.
        """
        return self.answers_to(x, batch_size)["score"]

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Query, item, score and rank of each item of whole queries; relevance is not looked at."""
        x, _, group = unpack_queries(batch)
        scores = self.outputs_of(x)
        queries = Queries.begin(begins(group))
        answers = self.predictions(scores)
        return {
            "query": group,
            "item": queries.place,
            **answers,
            "rank": queries.ranks(scores),
        }

    def charts(self, seen: Seen) -> Iterator[Chart]:
        """NDCG of every query, and scores by relevance, of a whole split."""
        scores = torch.from_numpy(seen.rows["score"])
        relevance, begin = torch.from_numpy(seen.rows["target"]).unbind(1)
        queries = Queries.begin(begin)
        values = values_of_queries(
            scores, relevance, queries, self.top_k, self.gain, self.relevance_threshold
        )
        undefined = {"neg": 0.0, "pos": 1.0, "skip": nan}[self.empty_target_action]
        said = getattr(getattr(self.trainer, "datamodule", None), "split_queries", {})
        names = said.get(seen.split, [])
        if self.trainer.world_size > 1 and len(names) != len(queries):
            names = []  # parts of several processes
        names = names[: len(queries)] or [str(number) for number in range(len(queries))]
        shown = f"ndcg@{max(self.top_k)}" if self.top_k else "mrr"
        yield metric_by_query(shown, values, names, queries.sizes, undefined, seen.of)
        yield score_by_relevance(scores, relevance, queries.of_row, seen.of)

    @property
    def output_names(self) -> list[str]:
        """What is ranked by, from the data module."""
        return list(self.schema.get("target_names") or ["score"])
