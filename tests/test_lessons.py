"""Lessons 1, 4 and 5: equal to PyTorch by hand, to the documents, to the closed form."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.metrics import accuracy_score, mean_absolute_error, mean_squared_error
from sklearn.preprocessing import StandardScaler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from lit_course import LinearRegressor
from lit_course.datamodules import CSVDataModule, DiabetesDataModule, SupervisedDataModule

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture
def fit(lit, tmp_path):
    """Fit one of ``configs/``; returns the run's folder."""

    def run(config: str, *flags: object) -> Path:
        done = lit("fit", "--config", CONFIGS / f"{config}.yaml", *flags)
        assert done.status == 0, done.err
        versions = (tmp_path / "runs" / Path(config).stem).glob("version_*")
        return max(versions, key=lambda path: int(path.name[8:]))

    return run


def metrics(run: Path, verb: str = "fit") -> dict[str, float]:
    return json.loads((run / f"{verb}_metrics.json").read_text(encoding="utf-8"))


def weights(run: Path) -> dict[str, Tensor]:
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    return checkpoint["state_dict"]


def by_epoch(run: Path, name: str) -> list[float]:
    return [event.value for event in EventAccumulator(str(run)).Reload().Scalars(name)]


# ------------------------------------------------------------------- lesson 5, by hand


def idx(raw: Path, name: str, header: int) -> Tensor:
    content = gzip.decompress((raw / f"{name}.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).copy())


@pytest.mark.parametrize(
    "output_relu",
    [
        pytest.param(True, id="output_relu", marks=pytest.mark.slow),
        pytest.param(False, id="no_output_relu", marks=pytest.mark.slow),
    ],
)
def test_lesson_5_equals_a_bare_loop(output_relu, fit, lit, shared_data):
    config = "lessons/lesson5_output_relu" if output_relu else "lessons/lesson5_no_output_relu"
    run = fit(config, "--trainer.max_epochs=1", "--data.root", shared_data)

    raw = shared_data / "FashionMNIST" / "raw"
    images = idx(raw, "train-images-idx3-ubyte", 16).view(-1, 784).float() / 255
    labels = idx(raw, "train-labels-idx1-ubyte", 8).long()
    test_images = idx(raw, "t10k-images-idx3-ubyte", 16).view(-1, 784).float() / 255
    test_labels = idx(raw, "t10k-labels-idx1-ubyte", 8).long()
    torch.manual_seed(0)
    layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    model = nn.Sequential(*layers, *([nn.ReLU()] if output_relu else []))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for x, y in zip(images.split(64), labels.split(64), strict=True):
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    ours = weights(run)
    hand = {"linear1": layers[0], "linear2": layers[2], "output": layers[4]}
    for name, layer in hand.items():
        for kind, parameter in layer.named_parameters():
            difference = ours[f"network.{name}.{kind}"] - parameter.detach()
            assert difference.abs().max() <= 1e-6, name

    with torch.no_grad():
        logits = model(test_images)
        means = [
            loss_fn(model(x), y).item()
            for x, y in zip(test_images.split(64), test_labels.split(64), strict=True)
        ]
    reported = metrics(run)
    assert reported["val/loss"] == pytest.approx(
        loss_fn(logits.double(), test_labels).item(), rel=1e-6
    )
    # The document divides the sum of its 157 batch means by the 10,000 samples.
    documents = sum(means) / len(test_labels)
    assert reported["val/loss"] / documents == pytest.approx(10_000 / 157, rel=1e-3)

    done = lit("predict", "--ckpt_path", run, "--data.root", shared_data)
    assert done.status == 0, done.err
    with (run / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(10_000))
    predicted = [int(row["class"]) for row in rows]
    accuracy = accuracy_score(test_labels, predicted)
    assert reported["val/accuracy"] == pytest.approx(accuracy, rel=1e-6)
    assert accuracy == pytest.approx(accuracy_score(test_labels, logits.argmax(1)))


# ------------------------------------------------------------------- lesson 1, the document's run

# What the document printed: losses before its first update and after each of ten.
DOCUMENT_LOSSES = [
    25823.8086,
    5435.53662109375,
    1577.4495849609375,
    847.3780517578125,
    709.22265625,
    683.0757446289062,
    678.12451171875,
    677.1839599609375,
    677.0025024414062,
    676.96435546875,
    676.9537353515625,
]
DOCUMENT_GRADIENT = [-53195.8594, -3419.7146, -253.8908]  # of a, b, c
PRINTED = [-0.7658, -0.7506, 1.3525]  # a, b, c in the document
IN_OUR_ORDER = "[-0.7506, -0.7658, 1.3525]"  # of t, of t², the intercept


def first_gradient(fit, *flags: object) -> list[float]:
    """Of a, b and c, read off the first update."""
    run = fit("linear_roller_coaster", "--trainer.max_epochs=1", *flags)
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    before = checkpoint["hyper_parameters"]["initial_weights"]
    weight, bias = (
        checkpoint["state_dict"][f"network.linear.{kind}"] for kind in ("weight", "bias")
    )
    after = [*weight[0].tolist(), float(bias)]
    b, a, c = ((w0 - w1) / 1e-5 for w0, w1 in zip(before, after, strict=True))
    return [a, b, c]


def test_the_roller_coaster_is_the_documents_own_run(fit):
    losses = by_epoch(fit("linear_roller_coaster"), "train/loss")
    assert losses == pytest.approx(DOCUMENT_LOSSES, rel=1e-5)
    # A float32 weight tells its gradient to 6e-8 / lr = 0.006.
    assert first_gradient(fit) == pytest.approx(DOCUMENT_GRADIENT, abs=0.02)


def test_the_roller_coaster_without_noise(fit):
    flags = ("--data.noise=0", "--model.initial_weights", IN_OUR_ORDER)
    losses = by_epoch(fit("linear_roller_coaster", *flags), "train/loss")
    assert [round(loss) for loss in losses[:3]] == [25751, 5369, 1512]
    assert [round(loss) for loss in losses[-4:]] == [612] * 4
    assert [round(g) for g in first_gradient(fit, *flags)] == [-53188, -3417, -253]


def test_the_roller_coaster_from_the_printed_parameters(fit):
    """Four digits of the initial parameters, the document's noise: as near as LESSONS.md says."""
    flags = ("--model.initial_weights", IN_OUR_ORDER)
    losses = by_epoch(fit("linear_roller_coaster", *flags), "train/loss")
    assert losses[0] == pytest.approx(25823.8, rel=0.01)
    assert losses[1:6] == pytest.approx([5435.5, 1577.4, 847.4, 709.2, 683.1], rel=0.05)
    assert all(590 < loss < 680 for loss in losses[6:])
    assert first_gradient(fit, *flags)[:2] == pytest.approx([-53195.9, -3419.7], rel=0.01)


@pytest.mark.slow
def test_standardised_the_roller_coaster_reaches_the_noise_floor(fit):
    """What the course does not show, on its own points."""
    flags = ("--model.standardize=true", "--model.lr=0.2", "--trainer.max_epochs=150")
    flags = (*flags, "--model.optimizer_options={momentum: 0.9}")
    run = fit("linear_roller_coaster", *flags)
    torch.manual_seed(42)  # the document's noise
    t = torch.arange(20.0)
    speed = 3 * torch.randn(20) + 0.75 * (t - 9.5) ** 2 + 1
    x = torch.stack([t, t**2], 1).numpy()
    exact = LinearRegression().fit(x, speed)
    floor = mean_squared_error(speed, exact.predict(x))
    assert by_epoch(run, "train/loss")[-1] == pytest.approx(floor, rel=0.01)
    assert floor < 9


# ------------------------------------------------------------------- least squares


def table(name: str, shared_data: Path) -> tuple[SupervisedDataModule, list[str]]:
    """The data module of a linear configuration, and the flag for its file."""
    if name == "linear_diabetes":
        return DiabetesDataModule(batch_size=1000), []
    path = str(shared_data / "boston.csv")
    return CSVDataModule(path, "medv", batch_size=1000, test_size=0.2), ["--data.path", path]


def split(data: SupervisedDataModule, loader: str) -> tuple[np.ndarray, np.ndarray]:
    data.setup()
    [(x, y)] = getattr(data, loader)()
    return x.double().numpy(), y.double().numpy()


@pytest.fixture(params=["linear_diabetes", pytest.param("linear_boston", marks=pytest.mark.slow)])
def linear(request, fit):
    """Fit a linear configuration; returns its run and its data."""
    shared_data = None
    if request.param == "linear_boston":
        shared_data = request.getfixturevalue("shared_data")
    data, where = table(request.param, shared_data)
    return lambda *flags: (fit(request.param, *where, *flags), data)


def coefficients(run: Path, which: str = "best") -> tuple[np.ndarray, float]:
    model = LinearRegressor.load_from_checkpoint(run / f"checkpoints/{which}.ckpt")
    *slopes, intercept = model.coefficients().values()
    return torch.stack(slopes).numpy(), float(intercept)


def distance(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.slow  # tests/modules has the same, without the command line
def test_linear_configurations_reach_least_squares(linear):
    run, data = linear("--test_best=true")
    x, y = split(data, "train_dataloader")
    exact = LinearRegression().fit(x, y)
    slopes, intercept = coefficients(run)
    assert distance(slopes, exact.coef_) < 0.01
    assert distance(slopes * x.std(0), exact.coef_ * x.std(0)) < 0.01  # no unit decides
    assert intercept == pytest.approx(exact.intercept_, rel=0.01)
    x, y = split(data, "test_dataloader")
    tested = metrics(run, "test")
    assert tested["test/mae"] == pytest.approx(mean_absolute_error(y, exact.predict(x)), rel=0.01)
    assert tested["test/mse"] == pytest.approx(mean_squared_error(y, exact.predict(x)), rel=0.01)


@pytest.mark.slow  # tests/modules has the same, without the command line
@pytest.mark.parametrize(
    ("flag", "reference"),
    [
        ("--model.l2=30", Ridge(alpha=30)),
        ("--model.l1=0.5", Lasso(alpha=0.5, tol=1e-10, max_iter=100_000)),
    ],
    ids=["ridge", "lasso"],
)
def test_penalties_are_scikit_learns(linear, flag, reference):
    # Of the last state: the loss that the best one is judged by leaves the penalty out.
    run, data = linear(flag)
    x, y = split(data, "train_dataloader")
    scaler = StandardScaler().fit(x)
    reference.fit(scaler.transform(x), y)
    slopes, intercept = coefficients(run, "last")
    assert distance(slopes * scaler.scale_, reference.coef_) < 0.01
    at_mean = intercept + slopes @ scaler.mean_
    assert at_mean == pytest.approx(reference.intercept_, rel=0.01)
    unpenalised = LinearRegression().fit(scaler.transform(x), y)
    assert distance(reference.coef_, unpenalised.coef_) > 0.05, "a penalty that does nothing"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_least_squares_is_reached_on_other_splits(seed, linear):
    run, data = linear(f"--data.seed={seed}", f"--seed_everything={seed}")
    data.seed = seed
    x, y = split(data, "train_dataloader")
    assert distance(coefficients(run)[0], LinearRegression().fit(x, y).coef_) < 0.01
