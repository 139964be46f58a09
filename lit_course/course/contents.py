"""The table of contents: what each lesson asks. Nothing heavy is imported to read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A line of the table of contents.

    Args:
        file: Name of the file in this folder that holds the lesson, without its number.
        title: Its title, that of its page in the manual.
        question: What it asks.
    """

    file: str
    title: str
    question: str


CONTENTS: dict[int, Entry] = {
    1: Entry(
        "gradient_descent",
        "Gradient descent by hand",
        "Why does the loss fall at once and then stand still, and what helps?",
    ),
    2: Entry(
        "optimizers",
        "Batches and optimizers",
        "What is an update, and which optimizer makes the most of it?",
    ),
    3: Entry(
        "losses",
        "Losses",
        "What does a loss punish, and what becomes of outliers and rare classes?",
    ),
    4: Entry(
        "linear_regression",
        "Linear regression on Boston housing",
        "How far from the exact solution does the course's training end?",
    ),
    5: Entry(
        "output_relu",
        "An MLP on Fashion-MNIST",
        "What do a ReLU behind the last layer and a wrong average hide?",
    ),
    6: Entry(
        "schedules",
        "Learning-rate schedules",
        "What does the learning rate do over a run, and who decides it?",
    ),
    7: Entry(
        "modes",
        "Modes",
        "What does eval() switch, what does no_grad, and who does it?",
    ),
    8: Entry(
        "saving",
        "Saving and loading",
        "What does each way to save keep, and what is needed to load it?",
    ),
    9: Entry(
        "metrics",
        "Metrics",
        "Which metric can be trusted, what is it of, and how is an order measured?",
    ),
    10: Entry(
        "generalisation",
        "Generalisation",
        "When does a model learn by heart, and what helps against it?",
    ),
}
