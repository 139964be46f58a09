"""Checkpoints of every format that was ever released load, answer as they did, and go on.

The files in ``fixtures/`` are never made anew: they stand for those that users have. Each is the
last checkpoint of ``fit(...)`` below with the version of its day, stopped in its second epoch;
beside it is what its model answered for the first three rows.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_course import LinearRegressor, MLPClassifier

FIXTURES = Path(__file__).parent / "fixtures"
MODELS = {
    "classifier": (
        MLPClassifier,
        "label",
        *("--model.hidden_features", "[4]", "--model.normalization", "batch"),
        *("--model.dropout", "0.1", "--model.optimizer", "AdamW"),
        *("--model.lr_scheduler", "ReduceLROnPlateau", "--model.warmup_steps", "3"),
    ),
    "regressor": (
        LinearRegressor,
        "target",
        *("--model.degree", "2", "--model.optimizer", "SGD", "--model.lr", "0.1"),
        *("--model.lr_scheduler", "CosineAnnealingLR", "--model.l2", "0.01"),
    ),
}


@pytest.fixture
def fit(lit, tmp_path):
    """A fit of a model of this page on 60 rows that a formula makes."""
    x = np.sin(np.arange(180).reshape(60, 3) ** 1.1).round(6)
    table = tmp_path / "table.csv"
    rows = [f"{a},{b},{c},{a - 2 * b + c * c},{int(a > b)}" for a, b, c in x]
    table.write_text("\n".join(["a,b,c,target,label", *rows]) + "\n")

    def run(model: str, *options):
        cls, target, *arguments = MODELS[model]
        data = ("--data", "CSVDataModule", "--data.path", table, "--data.target", target)
        data = (*data, "--data.features", '["a", "b", "c"]', "--data.batch_size", 10)
        limit = ("--trainer.max_epochs", 3)
        return lit("fit", "--model", cls.__name__, *arguments, *data, *limit, *options)

    return run


@pytest.mark.parametrize("format_number", [1])
@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_of_every_format(fit, tmp_path, model, format_number):
    path = FIXTURES / f"format{format_number}_{model}.ckpt"
    assert torch.load(path, weights_only=True)["lit_course"]["format"] == format_number
    answered = json.loads(path.with_suffix(".json").read_text())
    loaded = MODELS[model][0].load_from_checkpoint(path).eval()
    with torch.no_grad():
        outputs = loaded(torch.tensor(answered["x"]))
    np.testing.assert_allclose(outputs, answered["outputs"], rtol=1e-5, atol=1e-6)
    # Whether it was trained on uint8 is not in these files: they are taken for images.
    x = torch.tensor([[0, 100, 255]], dtype=torch.uint8)
    for name, answer in loaded.answers_to(x).items():
        np.testing.assert_allclose(answer, loaded.answers_to(x / 255)[name], rtol=1e-5)
    done = fit(model, "--ckpt_path", path, "--name", "on")
    assert (done.status, done.err) == (0, ""), done.err
    after = torch.load(tmp_path / "runs/on/version_0/checkpoints/last.ckpt", weights_only=True)
    assert after["epoch"] == 2
    # As the version of its day ended without a stop.
    assert after["lit_course"]["metrics"] == pytest.approx(answered["ended"], rel=1e-4)
