"""Each lesson given whole: its answer held to the documents, closed forms and scikit-learn."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, recall_score

from lit_course.course.lesson01_gradient_descent import DOCUMENT as COASTER
from lit_course.course.lesson01_gradient_descent import by_hand, points, valleys
from lit_course.course.lesson02_optimizers import OPTIMIZERS
from lit_course.course.lesson05_output_relu import DOCUMENT
from lit_course.course.ran import Ran


@pytest.fixture
def draws() -> bool:
    """The pictures are looked at."""
    return True


@dataclass
class Given:
    """A lesson that was given."""

    place: Path
    tables: dict

    def run(self, name: str) -> Ran:
        return Ran(self.place / name / "version_0")


@pytest.fixture
def give(lit, tmp_path):
    """Give a lesson; every picture must show something."""

    def run(number: int, *flags: object) -> Given:
        done = lit("lesson", number, *flags)
        assert done.status == 0, done.err
        assert done.err == ""
        (place,) = (tmp_path / "runs" / f"lesson{number}").glob("version_*")
        pictures = list(place.glob("*.png"))
        assert pictures
        for picture in pictures:
            pixels = np.asarray(Image.open(picture).convert("RGB"))
            assert pixels.shape[1] >= 768
            assert pixels.std() > 5, f"{picture.name} is blank"
            assert picture.with_suffix(".csv").read_text().count("\n") > 1
        return Given(place, json.loads((place / "answer.json").read_text(encoding="utf-8")))

    return run


def test_the_loop_by_hand_is_the_documents():
    losses, path, gradient = by_hand(*points(), [-0.76583862, -0.75062233, 1.35254776])
    assert losses == pytest.approx(list(COASTER), rel=1e-4)
    assert gradient.tolist() == pytest.approx([-53195.8594, -3419.7146, -253.8908], rel=1e-5)
    assert len(path) == len(COASTER)


def test_momentum_crosses_into_the_deeper_valley():
    stopped, crossed = valleys()["x"]
    for x in (stopped, crossed):
        assert 4 * x**3 - 6 * x + 1 == pytest.approx(0, abs=1e-3), "a minimum"
    assert stopped > 0 > crossed


@pytest.mark.slow  # the two above and test_lessons.py have samples of it
def test_lesson_1_gradient_descent(give):
    lesson = give(1)
    losses = lesson.tables["losses"]
    assert losses["by hand"] == pytest.approx(losses["the document"], rel=1e-4)
    assert losses["lit-course"] == pytest.approx(losses["by hand"], rel=1e-6)
    assert [round(loss) for loss in losses["without noise"][:3]] == [25751, 5369, 1512]
    assert [round(loss) for loss in losses["without noise"][-3:]] == [612] * 3
    gradients = lesson.tables["gradients"]
    assert [round(g) for g in gradients["without noise"]] == [-53188, -3417, -253]
    assert gradients["by hand"] == pytest.approx(gradients["the document"], abs=0.1)

    torch.manual_seed(42)
    t = np.arange(20.0)
    speed = 3 * torch.randn(20).numpy() + 0.75 * (t - 9.5) ** 2 + 1
    exact = LinearRegression().fit(np.stack([t**2, t], 1), speed)
    solutions = lesson.tables["solutions"]
    floor = np.mean((exact.predict(np.stack([t**2, t], 1)) - speed) ** 2)
    assert solutions["loss"][0] > 50 * floor
    assert solutions["loss"][1:] == pytest.approx([floor] * 2, rel=1e-4)
    assert solutions["a"][2] == pytest.approx(exact.coef_[0], rel=1e-4)

    factors = lesson.tables["rates"]["error is multiplied by"]
    assert factors[3] < -1 < factors[2] < 0 < factors[1] < 0.9 < factors[0] < 1
    after = lesson.tables["rates"]["loss after 10"]
    assert after[1] < after[2] < after[0] < after[3]
    assert not math.isfinite(lesson.tables["rates"]["loss after 40"][3] or math.inf), "stopped"
    steps = list((lesson.place / "document/version_0/figures").glob("*fitted_curve_step_*.png"))
    assert len(steps) == 11, "a picture of every step"

    assert lesson.tables["valleys"]["height"][1] < lesson.tables["valleys"]["height"][0]


@pytest.mark.slow
def test_lesson_2_optimizers(give):
    lesson = give(2)
    assert lesson.tables["arithmetic"]["updates"] == [50]
    assert lesson.tables["arithmetic"]["batches an epoch"] == [5]
    table = lesson.tables["optimizers"]
    assert len(table["optimizer"]) == len(OPTIMIZERS) == 9
    assert table["updates"][0] == 15
    assert set(table["updates"][1:]) == {15 * math.ceil(1257 / 64)}
    assert max(table["last loss"]) == table["last loss"][0], "full batches take too few steps"
    steps = lesson.tables["step_sizes"]
    adagrad = steps["optimizer"].index("Adagrad")
    for number in (1, 10, 100, 1000):
        assert steps[f"step {number}"][adagrad] == pytest.approx(0.01 / math.sqrt(number), rel=1e-6)
    freezing = lesson.tables["freezing"]
    for trainable, numbers, changed in zip(
        freezing["trainable"], freezing["numbers"], freezing["changed"], strict=True
    ):
        assert changed > 0.9 * numbers if trainable else changed == 0


@pytest.mark.slow
def test_lesson_3_losses(give):
    lesson = give(3)
    error = lesson.tables["outliers"]["mean error on the other 17"]
    assert error[1] > 10 > 3 > error[2] > error[3]
    assert max(lesson.tables["identities"]["difference"]) < 1e-12
    punished = lesson.tables["punished"]
    assert punished["-log of the probability"][0] == "inf"
    assert punished["cross entropy on the logit"][0] == pytest.approx(200)
    p = np.array(punished["probability"][1:])
    focal = -((1 - p) ** 2) * np.log(p)
    assert punished["focal loss, gamma 2"][1:] == pytest.approx(focal, rel=1e-3)
    rare = lesson.tables["rare"]
    by_loss = dict(zip(rare["loss"], rare["recall of rare"], strict=True))
    assert by_loss["class weights"] > by_loss["cross entropy"] + 0.2
    assert rare["accuracy"][1] < rare["accuracy"][0]
    assert rare["mean certainty"][2] < rare["mean certainty"][0] - 0.05
    model, (x, y) = lesson.run("class_weights").model(), lesson.run("class_weights").rows("test")
    expected = recall_score(y, model.predict_proba(x).argmax(1), average=None)
    recalls = [rare[f"recall of {name}"][1] for name in model.class_names]
    assert recalls == pytest.approx(expected.tolist())


@pytest.mark.slow
def test_lesson_4_linear_regression(give, shared_data):
    lesson = give(4, "--data", shared_data)
    run = lesson.run("exact")
    (x, y), (x_test, y_test) = run.rows("train"), run.rows("test")
    exact = LinearRegression().fit(x.double(), y.flatten())
    table = lesson.tables["errors"]
    assert table["test/mae"][2:] == pytest.approx(
        [mean_absolute_error(y_test, exact.predict(x_test.double()))] * 2, rel=1e-3
    )
    assert table["test/mae"][0] > 1.2 * table["test/mae"][3]
    coefficients = lesson.tables["coefficients"]
    assert coefficients["feature"][0] == "crim"
    assert coefficients["exact"][:-1] == pytest.approx(exact.coef_.tolist(), rel=1e-3, abs=1e-5)
    assert lesson.tables["faults"]["value"][:3] == [506, 500, 6]
    held_out = lesson.tables["faults"]["value"]
    assert held_out[3] < held_out[4] < held_out[5], "the more honest, the larger the error"


@pytest.mark.slow
def test_lesson_5_in_quick(give):
    check_lesson_5(give(5, "--quick"))


@pytest.mark.slow
def test_lesson_5_output_relu(give, shared_data):
    lesson = give(5, "--data", shared_data)
    assert lesson.tables["accuracy"]["the document"] == list(DOCUMENT)
    assert lesson.tables["average_loss"]["number"] == [10_000, 157, 10_000]
    assert lesson.tables["recipe"]["test/accuracy"][2] > 0.9
    check_lesson_5(lesson)


def check_lesson_5(lesson: Given) -> None:
    accuracy = lesson.tables["recipe"]["test/accuracy"]
    assert accuracy[0] < accuracy[1] < accuracy[2]
    classes = lesson.tables["classes"]
    recalls = np.array(classes["recall with the ReLU"])
    assert (recalls == 0).any(), "a class that is never the answer"
    assert min(classes["recall without"]) > 0
    for above, recall in zip(
        classes["images with a logit above 0"], classes["recall with the ReLU"], strict=True
    ):
        assert above or not recall
    average = lesson.tables["average_loss"]
    wrong, of_batches, right = average["average loss"]
    samples, batches, _ = average["number"]
    assert wrong * samples == pytest.approx(of_batches * batches)
    assert right == pytest.approx(lesson.run("output_relu").metrics("test")["test/loss"], rel=1e-5)
    assert (lesson.place / "confusion_output_relu.csv").is_file()


@pytest.mark.slow
def test_lesson_6_schedules(give):
    lesson = give(6)
    rates = lesson.tables["rates"]
    t = np.array(rates["t"])
    assert rates["step"] == pytest.approx(0.1 * 0.5 ** (t // 5))
    assert rates["multi_step"] == pytest.approx(0.1 * 0.3 ** ((t >= 4) + (t >= 14).astype(int)))
    assert rates["linear"] == pytest.approx(0.1 * (1 - t / 20))
    assert rates["cosine"] == pytest.approx(0.01 + 0.045 * (1 + np.cos(math.pi * t / 20)))
    assert rates["warm_up"][0] == pytest.approx(0.1 / 50)
    assert max(rates["one_cycle"]) < 0.1001
    reductions, losses = lesson.tables["reductions"], lesson.run("plateau").series("val/loss")
    plateau = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(plateau, patience=3, min_lr=1e-4)
    found = []
    for epoch, loss in enumerate(losses, 1):
        before = plateau.param_groups[0]["lr"]
        schedule.step(loss)
        if plateau.param_groups[0]["lr"] < before:
            found.append(epoch)
    assert reductions["after epoch"] == found[: len(reductions["after epoch"])]
    assert reductions["lr after"] == pytest.approx([0.01, 0.001, 0.0001])


def test_lesson_7_modes(give):
    lesson = give(7)
    modes = lesson.tables["modes"]
    assert modes["mode"] == ["train", "train", "eval", "eval"]
    assert modes["passes equal"] == [False, False, True, True]
    assert modes["statistics changed"] == [True, True, False, False]
    assert modes["keeps a graph"] == [True, False, True, False]
    assert lesson.tables["evaluations"]["equal to the first, byte for byte"] == [True, True]
    in_training, at_rest = lesson.tables["layers"]["train()"], lesson.tables["layers"]["eval()"]
    assert in_training[:3] == pytest.approx([0.5, 2, 1], abs=0.01)
    assert at_rest[:3] == [0, 1, 1]
    assert in_training[4] == at_rest[4] == pytest.approx(0.1 * 10, rel=0.01)


@pytest.mark.slow
def test_lesson_8_saving(give):
    lesson = give(8)
    files = lesson.tables["files"]
    assert files["training can go on"] == [True, False, False]
    assert max(files["largest difference of a probability"]) < 1e-5
    weights, optimizer, _ = lesson.tables["checkpoint"]["numbers"]
    assert optimizer == pytest.approx(2 * weights, rel=0.05), "two numbers for each weight"
    stranger = lesson.tables["stranger"]
    assert stranger["it wrote a file of its own"] == [True, False]
    assert stranger["outcome"][1].startswith("refused: ")
    assert not list(lesson.place.glob("a_stranger*"))


@pytest.mark.slow
def test_lesson_9_metrics(give):
    lesson = give(9)
    line, mlp = lesson.tables["rankers"]["test/ndcg@5"]
    assert mlp > line + 0.05
    micro, macro = (
        {name: values[at] for name, values in lesson.tables["averages"].items()} for at in (0, 1)
    )
    run = lesson.run("cross_entropy").metrics("test")
    for name in ("precision", "recall", "F1"):
        assert micro[name] == pytest.approx(run["test/accuracy"]), "micro is the accuracy"
        assert macro[name] == pytest.approx(run[f"test/{name.lower()}"])
        by_class = lesson.tables["classes"][name]
        assert macro[name] == pytest.approx(sum(by_class) / 3)
    assert macro["AUROC"] == pytest.approx(run["test/auroc"], abs=1e-6)
    assert macro["recall"] < micro["recall"] - 0.2


@pytest.mark.slow
def test_lesson_10_generalisation(give):
    lesson = give(10)
    parted = lesson.tables["overfitting"]
    assert parted["train/loss"][1] < 0.01 < parted["train/loss"][0]
    assert parted["val/loss"][1] > 1.3 * parted["val/loss"][0]
    (kept,), (stopped,) = (
        lesson.tables["stopping"][name] for name in ("kept epoch", "stopped after epoch")
    )
    assert stopped == kept + 8
    (then,), (restored,) = (
        lesson.tables["stopping"][name] for name in ("val/loss then", "val/loss of best.ckpt")
    )
    assert restored == pytest.approx(then, rel=1e-6)
    scratch, transfer, frozen = lesson.tables["transfer"]["test/accuracy"]
    assert min(transfer, frozen) > scratch + 0.1
    before, after = lesson.run("clean").weights("best"), lesson.run("frozen").weights()
    assert torch.equal(before["network.linear1.weight"], after["network.linear1.weight"])
    clean, noisy = (np.load(lesson.place / f"{name}.npz") for name in ("clean", "noisy"))
    assert len(clean["X"]) + len(noisy["X"]) == 1797, "no image is in both"
