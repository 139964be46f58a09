"""A run that was stopped and went on is, to the last bit, the run that was never stopped."""

import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

EPOCHS = 4
BATCHES = 6  # 1257 samples
MODEL = (
    *("--model", "MLPClassifier", "--model.hidden_features", "[16]", "--model.dropout", "0.2"),
    *("--model.normalization", "batch", "--data", "DigitsDataModule", "--data.batch_size", "240"),
    *("--trainer.log_every_n_steps", "2"),
)
SGD = ("--model.optimizer", "SGD", "--model.optimizer_options.momentum", "0.9", "--model.lr", "0.1")
ADAMW = ("--model.optimizer", "AdamW")
COSINE = ("--model.lr_scheduler", "CosineAnnealingLR")
PLATEAU = (
    *("--model.lr_scheduler", "ReduceLROnPlateau", "--model.lr_scheduler_options"),
    '{"patience": 0, "cooldown": 1, "threshold": 0.9, "factor": 0.5}',
)
EPOCH_LIMIT = ("--trainer.max_epochs", str(EPOCHS))
SETUPS = {
    "SGD, cosine": (*SGD, *COSINE, *EPOCH_LIMIT),
    "AdamW, plateau": (*ADAMW, *PLATEAU, *EPOCH_LIMIT),
    "SGD, cosine by the step": (*SGD, *COSINE, "--model.lr_interval", "step", *EPOCH_LIMIT),
    "AdamW, plateau on train/loss": (
        *ADAMW,
        *PLATEAU,
        "--model.monitor",
        "train/loss",
        *EPOCH_LIMIT,
    ),
    "warm-up": (*SGD, *COSINE, "--model.warmup_steps", "8", *EPOCH_LIMIT),
    "no schedule, no shuffling": (*ADAMW, "--data.shuffle", "false", *EPOCH_LIMIT),
    "accumulation": (*SGD, *COSINE, "--trainer.accumulate_grad_batches", "2", *EPOCH_LIMIT),
    "validation within the epoch": (
        *(*SGD, *PLATEAU, "--trainer.val_check_interval", "0.5", *EPOCH_LIMIT),
    ),
    "validation every second epoch": (
        *(*SGD, *PLATEAU, "--trainer.check_val_every_n_epoch", "2", *EPOCH_LIMIT),
    ),
    "a number of steps": (*SGD, *COSINE, "--trainer.max_steps", str(EPOCHS * BATCHES - 2)),
    "early stopping": (*ADAMW, "--early_stopping", "2", *EPOCH_LIMIT),
}


def points(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run: for each tag its steps and values."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    # Files of the same second and process are not read in the order of writing.
    return {
        tag: sorted((e.step, e.value) for e in events.Scalars(tag))
        for tag in events.Tags()["scalars"]
    }


def state(run: Path, which: str = "last"):
    checkpoint = torch.load(run / "checkpoints" / f"{which}.ckpt", weights_only=True)
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "loops")
    return {part: checkpoint[part] for part in parts} | {
        "metrics": checkpoint["lit_course"]["metrics"],
        "positions": checkpoint["lit_course"]["positions"],
    }


def differences(one, other, at: str = "") -> list[str]:
    """Where two nested states differ, tensors by every bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        lost = [f"{at}.{key}" for key in one.keys() ^ other.keys()]
        return lost + [
            d for k in one.keys() & other.keys() for d in differences(one[k], other[k], f"{at}.{k}")
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [
            d
            for i, (a, b) in enumerate(zip(one, other, strict=True))
            for d in differences(a, b, f"{at}.{i}")
        ]
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [at]
    return [] if one == other or (one != one and other != other) else [f"{at}: {one} {other}"]


def assert_same_run(run: Path, reference: Path) -> None:
    assert differences(state(run), state(reference)) == []
    assert differences(state(run, "best"), state(reference, "best")) == []
    assert points(run) == points(reference)
    numbers = [json.loads((r / "fit_metrics.json").read_text()) for r in (run, reference)]
    assert numbers[0] == numbers[1]


# The first batch, within an epoch, its last batch, the first batch of another, in validations.
KICKS = [(0, False), (2, False), (5, False), (8, False), (12, False), (17, False), (21, False)]
KICKS += [(0, True), (8, True)]
QUICK = {setup: KICKS[(2 * i + 1) % len(KICKS)] for i, setup in enumerate(SETUPS) if i % 2 == 0}


@pytest.mark.parametrize(
    ("setup", "kick"),
    [
        pytest.param(name, kick, marks=[] if QUICK.get(name) == kick else [pytest.mark.slow])
        for name in SETUPS
        for kick in KICKS
    ],
)
def test_a_signal_costs_nothing(lit, tmp_path, kicked, setup, kick):
    assert_costs_nothing(lit, tmp_path, kicked, kick, *MODEL, *SETUPS[setup])


def assert_costs_nothing(lit, tmp_path, kicked, kick, *options):
    run = tmp_path / "runs" / "run" / "version_0"
    command = ("fit", *options, "--name", "run")
    assert lit(*command).status == 0
    reference = run.rename(tmp_path / "reference")
    kicked(*kick)
    done = lit(*command)
    assert done.status == 143, done.err
    kicked(-1)
    done = lit("fit", "--ckpt_path", run)
    assert done.status == 0, done.err
    assert_same_run(run, reference)


RANKER = (
    *("--model", "Ranker", "--model.hidden_features", "[8]", "--model.dropout", "0.2"),
    *("--data", "SyntheticQueriesDataModule", "--data.num_queries", "100"),
    *("--data.batch_size", "10", *EPOCH_LIMIT),
)


@pytest.mark.parametrize(
    "kick", [pytest.param(k, marks=[] if k == (8, False) else [pytest.mark.slow]) for k in KICKS]
)
def test_nor_does_it_cost_a_ranker_a_query(lit, tmp_path, kicked, kick):
    assert_costs_nothing(lit, tmp_path, kicked, kick, *RANKER)


@pytest.mark.parametrize("setup", ["SGD, cosine", "AdamW, plateau"])
def test_two_runs_are_one_and_another_seed_is_another(lit, tmp_path, setup):
    command = ("fit", *MODEL, *SETUPS[setup], "--name", "run")
    for options in ((), (), ("--seed_everything", 1), ("--data.seed", 1)):
        assert lit(*command, *options).status == 0
    one, same, *others = sorted((tmp_path / "runs" / "run").iterdir())
    assert_same_run(same, one)
    for other in others:
        assert ".state_dict.network.output.weight" in differences(state(other), state(one))
