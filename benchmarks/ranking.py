"""An epoch over whole queries, with each loss, against a pointwise one of the same rows."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from benchmarks.clock import StageClock
from benchmarks.group import Group, Row, Setting
from benchmarks.rounds import Contender, Rounds, interleave
from lit_course import MLPRegressor, Ranker
from lit_course.datamodules.batches import Batches
from lit_course.datamodules.query_batches import QueryBatches
from lit_course.ranking_losses import RANKING_LOSSES

QUERIES, ITEMS, FEATURES = 10_000, 100, 100  # items of a query on average
BATCH = 64  # queries
HIDDEN = [64, 64]
GRADES = torch.tensor([0.5, 0.3, 0.13, 0.05, 0.02])
POINTWISE = "MLPRegressor, rows"


def epoch(model: LightningModule, batches: Iterable[Any]) -> float:
    """Seconds of one epoch of training with its metrics, nothing before and behind it."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        file = Path(folder) / "times.json"
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            callbacks=StageClock(str(file)),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, batches)
        times: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return times["train_end"] - times["train_start"]


def measure(setting: Setting) -> Rounds:
    """Queries of 50 to 150 items; as many rows a batch in the pointwise epoch on average."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    queries = QUERIES if len(setting.images.x) >= 60_000 else 50  # the quick form
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(ITEMS // 2, ITEMS + ITEMS // 2 + 1, (queries,), generator=generator)
    group = torch.arange(queries).repeat_interleave(sizes)
    x = torch.randn(len(group), FEATURES, generator=generator)
    y = torch.multinomial(GRADES, len(group), replacement=True, generator=generator).float()
    rows = Batches(x, y, batch_size=BATCH * ITEMS, shuffle=True)
    whole = QueryBatches(x, y, group, batch_size=BATCH, shuffle=True)

    def pointwise() -> float:
        plain: dict[str, Any] = {"standardize": False, "target_transform": "identity"}
        return epoch(MLPRegressor(FEATURES, 1, HIDDEN, **plain), rows)

    def ranking(loss: str) -> float:
        return epoch(Ranker(FEATURES, HIDDEN, loss=loss, standardize=False), whole)

    contenders: dict[str, Contender] = {name: partial(ranking, name) for name in RANKING_LOSSES}
    return interleave({POINTWISE: pointwise, **contenders}, setting.rounds)


GROUP = Group(
    "an epoch of 1,000,000 items in 10,000 queries, an MLP, against a pointwise one …",
    tuple(Row(f"loss {name}", name, POINTWISE, at_most=2) for name in RANKING_LOSSES),
    measure,
)
