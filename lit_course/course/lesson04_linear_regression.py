"""Lesson 4: the course's training on Boston housing beside the exact solution, and its faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import nn

from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.ran import Ran
from lit_course.figures import Chart, coefficients, predicted_against_true

FILE = "boston.csv"
HOW = (
    "scikit-learn's fetch_openml(name='boston', version=1, as_frame=True).frame has the table; "
    "write it with lower-case column names, or give its folder with --data"
)
BOSTON = f"--data.path {{data}}/{FILE} --test_best true --figures false"
RUNS = {
    "document": "the document's settings",
    "same_adam": "the same, standardised",
    "standardised": "standardised, SGD with momentum",
    "exact": "exact",
}
EPOCHS, BATCH = 500, 100


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """Errors, predictions, coefficients, and the faults of the document's loop."""
    tests = [ran[name].metrics("test") for name in RUNS]
    yield Table(
        "errors",
        "On the 101 rows of the test split",
        {
            "training": list(RUNS.values()),
            "updates": [ran[name].checkpoint()["global_step"] for name in RUNS],
            "train/mse": [ran[name].metrics()["train/mse"] for name in RUNS],
            **{f"test/{m}": [test[f"test/{m}"] for test in tests] for m in ("mse", "mae", "r2")},
        },
    )
    x, y = ran["exact"].rows("test")
    models = {name: ran[name].model() for name in RUNS}
    for name in ("document", "exact"):
        chart = predicted_against_true(y, models[name].predict(x), "medv", of=RUNS[name])
        yield replace(chart, name=f"predicted_{name}")
    weights = {name: model.coefficients() for name, model in models.items()}
    features = list(weights["exact"])
    yield Table(
        "coefficients",
        "Coefficients in original units",
        {
            "feature": features,
            **{title: [float(weights[n][f]) for f in features] for n, title in RUNS.items()},
        },
    )
    drawn = coefficients(weights["exact"], ["medv"], of="least squares")
    assert drawn is not None
    yield drawn
    yield faults(ran)


def faults(ran: Mapping[str, Ran]) -> Table:
    """The document's loop: whole batches only, nothing held out, judged by its first row."""
    parts = [ran["exact"].rows(split) for split in ("train", "val", "test")]
    x = torch.cat([part for part, _ in parts])
    y = torch.cat([target for _, target in parts]).flatten()
    torch.manual_seed(0)
    model = nn.Linear(x.shape[1], 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    seen = len(x) // BATCH * BATCH
    for _ in range(EPOCHS):
        for start in range(0, seen, BATCH):
            optimizer.zero_grad()
            rows = slice(start, start + BATCH)
            loss = nn.functional.mse_loss(model(x[rows])[:, 0], y[rows])
            loss.backward()  # type: ignore[no-untyped-call]  # as torch has it
            optimizer.step()
    with torch.no_grad():
        error = (model(x)[:, 0] - y).abs()
    return Table(
        "faults",
        "The document's loop",
        {
            "what": [
                "rows",
                "rows seen in an epoch",
                "rows never seen",
                "error on the row it is judged by",
                "mean error on the rows that it was trained on",
                "mean error on held-out rows, the same settings with a split",
            ],
            "value": [
                len(x),
                seen,
                len(x) - seen,
                float(error[0]),
                float(error[:seen].mean()),
                ran["document"].metrics("test")["test/mae"],
            ],
        },
    )


LESSON = Lesson(
    runs={
        "document": Run(f"fit --config configs/lessons/lesson4_boston.yaml {BOSTON}"),
        "same_adam": Run(
            f"fit --config configs/lessons/lesson4_boston.yaml {BOSTON} --model.standardize true"
        ),
        "standardised": Run(f"fit --config configs/linear_boston.yaml {BOSTON}"),
        "exact": Run(
            f"fit --model LinearRegressor --model.solver exact --trainer.max_epochs 1 --data"
            f" CSVDataModule --data.target medv --data.test_size 0.2 {BOSTON}"
        ),
    },
    answer=answer,
    needs={FILE: HOW},
)
