"""NDCG on LightGBM's example of ranking: ridge regression, LightGBM and the two configurations.

``python -m benchmarks.lambdarank`` prints a table, all of it from one run: trained on
``rank.train``, measured on ``rank.test``. Needs LightGBM (``pip install -e '.[bench]'``). The
configurations were chosen by ``--held_out``: the same on five folds of the queries of
``rank.train``, without a look at ``rank.test``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
from lightning.pytorch import Trainer, seed_everything
from sklearn.linear_model import Ridge
from torch import Tensor

from benchmarks.machine import described
from benchmarks.program import terminal
from benchmarks.results import CONFIGS, ROOT, command, data_flags, read, rounded, run_once
from lit_course import Ranker
from lit_course.datamodules.query_batches import QueryBatches
from lit_course.datamodules.svmlight_files import read_svmlight
from lit_course.queries import Queries
from lit_course.ranking_metrics import values_of_queries

RECORD = ROOT / "docs" / "lambdarank.json"
TOP_K = (1, 3, 5)
OURS = ("linear_ranker_lambdarank", "mlp_ranker_lambdarank")
FOLDS = 5

# Features, relevance and query of each item.
Items = tuple[Tensor, Tensor, Tensor]
# Learns from the first, gives scores to the second; by the seed.
Contender = Callable[[Items, Items, int], Tensor]


def load(path: Path, num_features: int | None = None) -> Items:
    """Items of a file."""
    items = read_svmlight(str(path), None, num_features=num_features)
    return items.x, items.relevance, items.group


def part(items: Items, queries: Tensor) -> Items:
    """Items of some queries, which are numbered anew."""
    mask = torch.isin(items[2], queries)
    group = items[2][mask]
    return items[0][mask], items[1][mask], (group.diff(prepend=group[:1]) != 0).cumsum(0)


def ndcg(scores: Tensor, items: Items) -> Tensor:
    """NDCG of each query at each cut-off ``(Q, K)``; 0 of one without a relevant item."""
    _, relevance, group = items
    sizes = group.bincount()
    queries = Queries(sizes.cumsum(0) - sizes, sizes)
    values = values_of_queries(scores, relevance, queries, TOP_K)
    return torch.stack([values[f"ndcg@{k}"].nan_to_num(0) for k in TOP_K], 1)


def ridge(train: Items, test: Items, seed: int) -> Tensor:
    """Pointwise, of the relevance itself."""
    model = Ridge(alpha=100).fit(train[0].numpy(), train[1].numpy())
    return torch.from_numpy(model.predict(test[0].numpy()))


def lightgbm(train: Items, test: Items, seed: int) -> Tensor:
    """A hundred trees of its own defaults."""
    from lightgbm import LGBMRanker

    model = LGBMRanker(n_estimators=100, random_state=seed, n_jobs=1, verbose=-1)
    model.fit(train[0].numpy(), train[1].numpy(), group=train[2].bincount().numpy())
    return torch.from_numpy(model.predict(test[0].numpy()))


def ours(name: str) -> Contender:
    """A configuration: its model, batches and epochs, on these items."""
    config = read(CONFIGS[name])
    options = config["data"]["init_args"]

    def scores(train: Items, test: Items, seed: int) -> Tensor:
        seed_everything(seed, verbose=False)
        model = Ranker(train[0].shape[1], **config["model"]["init_args"])
        batches = QueryBatches(
            *train, batch_size=options.get("batch_size", 16), shuffle=True, seed=seed
        )
        with terminal(), tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                accelerator="cpu",
                max_epochs=config["trainer"]["max_epochs"],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=folder,
            )
            trainer.fit(model, batches)
        with torch.no_grad():
            answers: Tensor = model.eval()(test[0])
        return answers.double()

    return scores


def program(name: str, data: Path, seed: int) -> list[float]:
    """NDCG at each cut-off of a configuration as its users run it, by the command in its header."""
    with terminal():
        run = run_once([*command(CONFIGS[name]), *data_flags(CONFIGS[name], data)], seed)
    return [run["metrics"][f"test/ndcg@{k}"] for k in TOP_K]


def folds(items: Items) -> Iterator[tuple[Items, Items]]:
    """What is learned from, and the queries that are held out."""
    queries = torch.randperm(int(items[2].max()) + 1, generator=torch.Generator().manual_seed(123))
    for fold in range(FOLDS):
        mine = torch.arange(len(queries)) % FOLDS == fold
        yield part(items, queries[~mine]), part(items, queries[mine])


def measure(data: Path, seed: int, held_out: bool) -> Iterator[tuple[str, list[float]]]:
    """NDCG at each cut-off of all, by their names in the table."""
    train = load(data / "lambdarank" / "rank.train")
    test = load(data / "lambdarank" / "rank.test", train[0].shape[1])
    parts = list(folds(train)) if held_out else [(train, test)]
    contenders: dict[str, Contender] = {
        "ridge, alpha 100": ridge,
        "LightGBM, lambdarank, 100 trees": lightgbm,
    }
    if held_out:
        contenders |= {f"configs/{name}.yaml": ours(name) for name in OURS}
    for name, scores in contenders.items():
        each = [ndcg(scores(*items, seed), items[1]) for items in parts]
        yield name, torch.cat(each).mean(0).tolist()
    if not held_out:
        yield from ((f"configs/{name}.yaml", program(name, data, seed)) for name in OURS)


def table(found: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Mean and deviation over the seeds, in Markdown."""
    lines = ["| | " + " | ".join(f"NDCG@{k}" for k in TOP_K) + " |", "|---|---|---|---|"]
    for name, of_seeds in found.items():
        shown = (
            f"{mean(column):.3f}" + (f" ± {stdev(column):.3f}" if len(column) > 1 else "")
            for column in zip(*of_seeds, strict=True)
        )
        lines.append(f"| {' | '.join([name, *shown])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all, print the table, and write the record unless it is of held-out queries."""
    shared = ROOT.parent / "shared" / "data"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lambdarank", description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=shared if shared.is_dir() else ROOT / "data",
        help="folder that holds lambdarank/",
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--held_out", action="store_true")
    parser.add_argument("--output", type=Path, default=RECORD)
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data, output = args.data.resolve(), args.output.resolve()
    os.chdir(ROOT)  # the commands name the configurations from here
    found: dict[str, list[list[float]]] = {}
    for seed in range(args.seeds):
        for name, values in measure(data, seed, args.held_out):
            found.setdefault(name, []).append(values)
    print(table(found))
    if not args.held_out:
        record = {"ndcg": found, "top_k": TOP_K, "seeds": list(range(args.seeds)), **described()}
        text = json.dumps(rounded(record), indent=1, sort_keys=True)
        text = re.sub(r"\[[^\[\]{}]*\]", lambda match: " ".join(match[0].split()), text)
        output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
