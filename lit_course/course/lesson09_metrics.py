"""Lesson 9: ranking metrics, and what accuracy, micro and macro averages hide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from lit_course.course import rare_classes
from lit_course.course.lesson import Lesson, Run, Table
from lit_course.course.lesson03_losses import CLASSIFICATION
from lit_course.course.ran import Ran
from lit_course.figures import Chart, roc_curves

RANKERS = {"line": "a line", "mlp": "an MLP"}


def answer(ran: Mapping[str, Ran]) -> Iterator[Table | Chart]:
    """Two rankers by three metrics; one classifier by two averages; its ROC curves."""
    tests = [ran[name].metrics("test") for name in RANKERS]
    yield Table(
        "rankers",
        "Two rankers, on the same queries",
        {
            "scorer": list(RANKERS.values()),
            **{
                f"test/{m}": [test[f"test/{m}"] for test in tests]
                for m in ("ndcg@5", "map@5", "mrr")
            },
        },
    )
    run = ran["cross_entropy"]
    x, y = run.rows("test")
    probabilities = run.model().predict_proba(x)
    answers = probabilities.argmax(1)
    names = list(rare_classes.CLASSES)
    per_class = precision_recall_fscore_support(y, answers, zero_division=0)
    yield Table(
        "classes",
        "Cross entropy on three classes, by class",
        {
            "class": names,
            "samples": per_class[3].tolist(),
            **{
                title: per_class[at].tolist()
                for at, title in enumerate(("precision", "recall", "F1"))
            },
            "AUROC": roc_auc_score(y, probabilities, multi_class="ovr", average=None).tolist(),
        },
    )
    rows = {
        average: precision_recall_fscore_support(y, answers, average=average, zero_division=0)
        for average in ("micro", "macro")
    }
    yield Table(
        "averages",
        "Micro counts samples, macro counts classes",
        {
            "average": list(rows),
            **{
                title: [float(row[at]) for row in rows.values()]
                for at, title in enumerate(("precision", "recall", "F1"))
            },
            "AUROC": [
                float(roc_auc_score(y, probabilities, multi_class="ovr", average=average))
                for average in rows
            ],
        },
    )
    yield Table(
        "losses",
        "Four losses, judged by both",
        {
            "loss": [name.replace("_", " ") for name in CLASSIFICATION],
            "accuracy": [ran[n].metrics("test")["test/accuracy"] for n in CLASSIFICATION],
            "macro recall": [ran[n].metrics("test")["test/recall"] for n in CLASSIFICATION],
            "macro F1": [ran[n].metrics("test")["test/f1"] for n in CLASSIFICATION],
            "macro AUROC": [ran[n].metrics("test")["test/auroc"] for n in CLASSIFICATION],
        },
    )
    chart = roc_curves(y, probabilities, names, of=f"{len(y)} test samples, cross entropy")
    assert chart is not None
    yield chart


LESSON = Lesson(
    runs={
        "line": Run("fit --config configs/lessons/lesson9_linear_ranker.yaml --test_best true"),
        "mlp": Run("fit --config configs/mlp_ranker_synthetic.yaml --test_best true"),
        **{name: Run(rare_classes.FLAGS + flags) for name, flags in CLASSIFICATION.items()},
    },
    answer=answer,
    prepare=rare_classes.write,
)
