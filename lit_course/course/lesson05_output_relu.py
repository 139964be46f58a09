"""Lesson 5: the course's MLP with its ReLU behind the last layer, without it, and done well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.ran import Ran
from lit_course.figures import Chart, confusion_matrix, curves

# Test accuracy by epoch, in percent, as the document printed it.
DOCUMENT = (27.5, 38.9, 41.2, 44.4, 46.4, 47.5, 48.3, 48.7, 49.1, 49.5)
BATCH = 64
RUNS = {"output_relu": "with the output ReLU", "no_output_relu": "without it"}


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """Accuracy by epoch, both confusion matrices, dead classes, and the wrong average."""
    accuracy = {name: ran[name].series("val/accuracy") for name in RUNS}
    epochs = len(accuracy["output_relu"])
    as_documented = epochs == len(DOCUMENT)
    lines = {RUNS[name]: (range(1, epochs + 1), values) for name, values in accuracy.items()}
    if as_documented:
        lines["the document"] = (range(1, epochs + 1), [value / 100 for value in DOCUMENT])
    yield Table(
        "accuracy",
        "Accuracy by epoch (%)",
        {
            "epoch": list(range(1, epochs + 1)),
            **({"the document": list(DOCUMENT)} if as_documented else {}),
            **{RUNS[name]: [100 * v for v in values] for name, values in accuracy.items()},
        },
    )
    yield curves(
        "accuracy_by_epoch",
        lines,
        xlabel="epoch",
        ylabel="accuracy",
        title="A ReLU on the logits",
    )
    model = ran["output_relu"].model()
    names = list(model.class_names)
    logits = {name: logits_of(ran[name]) for name in RUNS}
    recalls = {}
    for name, (outputs, y) in logits.items():
        counts = torch.bincount(y * len(names) + outputs.argmax(1), minlength=len(names) ** 2)
        counts = counts.view(len(names), -1)
        recalls[name] = (counts.diagonal() / counts.sum(1)).tolist()
        chart = confusion_matrix(counts.numpy(), names, of=f"test images, {RUNS[name]}")
        yield replace(chart, name=f"confusion_{name}")
    relu = logits["output_relu"][0]
    yield Table(
        "classes",
        "A class whose logit is 0 for nearly every image is never the answer",
        {
            "class": names,
            "images with a logit above 0": (relu > 0).sum(0).tolist(),
            "recall with the ReLU": recalls["output_relu"],
            "recall without": recalls["no_output_relu"],
        },
    )
    yield average_loss(*logits["output_relu"])
    done = ("output_relu", "no_output_relu", "recipe")
    yield Table(
        "recipe",
        "The same images, done well",
        {
            "run": [*RUNS.values(), "a good recipe"],
            "epochs": [ran[name].checkpoint()["epoch"] + 1 for name in done],
            "test/accuracy": [ran[name].metrics("test")["test/accuracy"] for name in done],
        },
    )


def logits_of(run: Ran) -> tuple[Tensor, Tensor]:
    """Logits ``(N, C)`` of the test split and labels ``(N,)``."""
    x, y = run.rows("test")
    model = run.model()
    with torch.inference_mode():
        return torch.cat([model(part) for part in torch.split(x, 2000)]), y


def average_loss(logits: Tensor, y: Tensor) -> Table:
    """The document's average, which divides by the wrong number, beside the right one."""
    pairs = zip(torch.split(logits, BATCH), torch.split(y, BATCH), strict=True)
    batches = [F.cross_entropy(*pair).item() for pair in pairs]
    return Table(
        "average_loss",
        f"The sum of {len(batches)} batch means is {sum(batches):.1f}; divided by",
        {
            "divided by": ["samples, as the document does", "batches", "loss of every sample"],
            "number": [len(y), len(batches), len(y)],
            "average loss": [
                sum(batches) / len(y),
                sum(batches) / len(batches),
                F.cross_entropy(logits.double(), y).item(),
            ],
        },
    )


FASHION = "--data.root {data} --test_best true --figures false"
DIGITS = "--data DigitsDataModule --test_best true --figures false"
SIMPLE = (
    f"fit --model MLPClassifier --model.standardize false --model.optimizer SGD --model.lr 0.01"
    f" --trainer.max_epochs 20 {DIGITS}"
)
LESSON = Lesson(
    runs={
        "output_relu": Run(f"fit --config configs/lessons/lesson5_output_relu.yaml {FASHION}"),
        "no_output_relu": Run(
            f"fit --config configs/lessons/lesson5_no_output_relu.yaml {FASHION}"
        ),
        "recipe": Run(f"fit --config configs/mlp_fashion_mnist.yaml {FASHION}"),
    },
    quick={
        "output_relu": Run(f"{SIMPLE} --model.output_activation relu"),
        "no_output_relu": Run(SIMPLE),
        "recipe": Run("fit --config configs/mlp_digits.yaml --test_best true --figures false"),
    },
    answer=answer,
)
