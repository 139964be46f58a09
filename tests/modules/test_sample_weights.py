"""Weights of samples, through fit and every report: scikit-learn's, and those of rows repeated."""

import re

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader

from lit_course import ArrayDataModule
from lit_course.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from lit_course.modules import LinearRegressor, MLPClassifier

LOSSES = {**CLASSIFICATION_LOSSES, **REGRESSION_LOSSES}
# The whole split in a batch, at its minimum within seconds.
LBFGS = {
    "optimizer": "LBFGS",
    "lr": 1.0,
    "optimizer_options": {"line_search_fn": "strong_wolfe", "tolerance_change": 0.0},
}


@pytest.fixture
def weight():
    return torch.rand(101, generator=torch.Generator().manual_seed(3)) * 2


def make(loss, **arguments):
    torch.manual_seed(0)
    if loss in REGRESSION_LOSSES:
        return LinearRegressor(4, loss=loss, **arguments)
    return MLPClassifier(4, 2 if loss == "bce" else 3, [6], loss=loss, **arguments)


@pytest.mark.parametrize("loss", LOSSES)
def test_training_with_a_weight_of_k_is_training_with_the_row_k_times(
    loss, make_trainer, loader, weighted_loader, blobs
):
    x, y = blobs[0] / blobs[0].std(0), blobs[1]
    arguments = {"standardize": False, "optimizer": "SGD", "lr": 0.01}
    if loss in REGRESSION_LOSSES:
        y = x.sum(1)
    else:
        y = y.clamp_max(1) if loss == "bce" else y
        arguments["class_weights"] = [0.5, 2.0, 1.0][: y.max() + 1]
    repeats = torch.arange(101) % 4
    rows = torch.arange(101).repeat_interleave(repeats)
    results = []
    for train in (weighted_loader(x, y, repeats, 200), loader(x[rows], y[rows], 200)):
        model = make(loss, **arguments)
        trainer = make_trainer(max_epochs=5)
        trainer.fit(model, train)
        reported = {"train/loss": trainer.callback_metrics["train/loss"]}
        results.append(model.network.state_dict() | reported)
    weighted, repeated = results
    for name, value in weighted.items():
        torch.testing.assert_close(value, repeated[name], rtol=1e-4, atol=1e-6)


def test_a_linear_classifier_is_scikit_learns(make_trainer, weighted_loader, blobs, weight):
    x, y = StandardScaler().fit_transform(blobs[0]), blobs[1].clamp_max(1)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    reference.fit(x, y, sample_weight=weight)
    model = MLPClassifier(4, 2, [], loss="bce", **LBFGS)
    make_trainer(max_epochs=20).fit(model, weighted_loader(blobs[0], y, weight, 101))
    layer = model.network.output
    torch.testing.assert_close(
        torch.cat([layer.weight[0], layer.bias]).double(),
        torch.from_numpy(np.append(reference.coef_[0], reference.intercept_)),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("l2", [0.0, 20.0])
@pytest.mark.parametrize("solver", ["gradient", "exact"])
@pytest.mark.parametrize("source", ["loader", "data module"])
@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")
def test_a_line_is_scikit_learns(l2, solver, source, make_trainer, weighted_loader, line, weight):
    x, y = line
    line_of = Ridge(alpha=l2) if l2 else LinearRegression()
    reference = make_pipeline(StandardScaler(), line_of)
    name = reference.steps[-1][0]
    reference.fit(x.double(), y.double(), **{f"{name}__sample_weight": weight.double().numpy()})
    steps = LBFGS if solver == "gradient" else {}
    model = LinearRegressor(3, solver=solver, l2=l2, **steps)
    trainer = make_trainer(max_epochs=5 if steps else 1)
    if source == "loader":
        trainer.fit(model, weighted_loader(x, y, weight, 101 if steps else 7))
    else:
        batch_size = 101 if steps else 7
        sizes = {"val_size": 0, "test_size": 0, "batch_size": batch_size}
        trainer.fit(model, datamodule=ArrayDataModule(x, y, sample_weight=weight, **sizes))
    with torch.no_grad():
        predicted = model(x)[:, 0]
    np.testing.assert_allclose(predicted, reference.predict(x), atol=1e-4)
    residual = (reference.predict(x.double()) - y.double().numpy()) ** 2
    loss = float(trainer.callback_metrics["train/loss"])
    if not steps:
        assert loss == pytest.approx(np.average(residual, weights=weight), rel=1e-4)
    if l2:
        penalty = l2 / float(weight.sum()) * (line_of.coef_**2).sum()
        assert float(model.penalty().detach()) == pytest.approx(penalty, rel=1e-4)


@pytest.mark.parametrize("batch_size", [7, 101])
@pytest.mark.parametrize("class_weights", [None, [0.5, 2.0, 1.0]])
def test_the_reported_loss_is_the_weighted_mean_of_the_split_and_the_metrics_are_not(
    batch_size, class_weights, make_trainer, weighted_loader, blobs, weight
):
    torch.manual_seed(0)
    x, y = (blobs[0] - blobs[0].mean(0)) / blobs[0].std(0), blobs[1]
    model = MLPClassifier(4, 3, [8], class_weights=class_weights, standardize=False)
    loader = weighted_loader(x, y, weight, batch_size)
    p = model(x).detach().double().softmax(1)
    by_class = torch.tensor(class_weights or [1.0, 1.0, 1.0])[y]
    expected = sk.log_loss(y, p, sample_weight=weight * by_class)
    for verb, stage in (("validate", "val"), ("test", "test")):
        (values,) = getattr(make_trainer(), verb)(model, loader, verbose=False)
        assert values[f"{stage}/loss"] == pytest.approx(expected, rel=1e-6)
        assert values[f"{stage}/accuracy"] == pytest.approx(sk.accuracy_score(y, p.argmax(1)))
        assert values[f"{stage}/auroc"] == pytest.approx(
            sk.roc_auc_score(y, p, multi_class="ovr"), rel=1e-6
        )


def test_balanced_counts_rows_not_weights(make_trainer, weighted_loader, blobs, weight):
    model = MLPClassifier(4, 3, [], class_weights="balanced", standardize=False)
    make_trainer().fit(model, weighted_loader(*blobs, weight))
    counts = torch.bincount(blobs[1])
    torch.testing.assert_close(model.loss.class_weights, 101 / (3 * counts))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_that_weighs_nothing_moves_nothing(loss, make_trainer, weighted_loader, blobs):
    torch.manual_seed(0)
    x, y = blobs
    y = x.sum(1) if loss in REGRESSION_LOSSES else y.clamp_max(1)
    weight = torch.ones(101)
    weight[32:64] = 0
    model = make(loss, standardize=False, optimizer="SGD", lr=1e-4)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, weighted_loader(x[32:64], y[32:64], weight[32:64]))
    assert all(value.equal(before[name]) for name, value in model.network.state_dict().items())
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, weighted_loader(x, y, weight), weighted_loader(x, y, weight))
    assert all(trainer.callback_metrics[f"{stage}/loss"].isfinite() for stage in ("train", "val"))


def test_batches_of_a_class_of_weight_zero_are_no_reason_to_end(make_trainer, loader, blobs):
    """The mean over them was one over nothing, and every parameter NaN."""
    torch.manual_seed(0)
    x, y = blobs[0], blobs[1].sort().values
    model = MLPClassifier(4, 3, [8], class_weights=[1.0, 1.0, 0.0])
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, loader(x, y, 8), loader(x, y, 8))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    with torch.no_grad():
        known = y < 2
        expected = sk.log_loss(y[known], model(x[known]).double().softmax(1), labels=[0, 1, 2])
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("extras", "error", "message"),
    [
        ({"weight": torch.full((32,), -1.0)}, ValueError, "not negative, found -1.0"),
        (
            {"weight": torch.full((32,), torch.nan)},
            ValueError,
            "not negative, found nan",
        ),
        ({"weight": torch.ones(1)}, ValueError, "of shape (32,), found (1,): give one for each"),
        ({"weight": torch.ones(32, 1)}, ValueError, "of shape (32,), found (32, 1)"),
        ({"weight": 0.5}, ValueError, "of shape (32,), found ()"),
        (torch.ones(32), TypeError, 'found Tensor: give weights of samples as (x, y, {"weight"'),
    ],
)
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_wrong_weights_are_refused(extras, error, message, stage, make_trainer, blobs):
    x, y = blobs[0][:32], blobs[1][:32]
    model = MLPClassifier(4, 3, [4], standardize=False)
    with pytest.raises(error, match=re.escape(message)) as caught:
        getattr(make_trainer(), stage)(model, DataLoader([(x, y, extras)], batch_size=None))
    assert len(str(caught.value).splitlines()) <= 5


class OfMyOwn(LinearRegressor):
    """With a loss that gives the mean of a batch alone."""

    def configure_loss(self):
        class Cubes(nn.Module):
            def forward(self, outputs, target):
                return (outputs - target).abs().pow(3).mean()

        return Cubes()


def test_a_loss_of_ones_own_is_told_of_weights_it_cannot_take(
    make_trainer, loader, weighted_loader, line
):
    make_trainer().fit(OfMyOwn(3), loader(*line))
    with pytest.raises(ValueError, match=r"Cubes gives the mean .* each\(outputs, target\)"):
        make_trainer().fit(OfMyOwn(3), weighted_loader(*line, torch.ones(101)))


def test_weights_travel_from_an_npz_through_every_verb(lit, tmp_path, blobs, weight):
    x, y = (tensor.numpy() for tensor in blobs)
    np.savez(tmp_path / "data.npz", X=x, y=y, sample_weight=weight)
    model = ("--model", "MLPClassifier", "--model.hidden_features", "[4]")
    given = (*model, "--data", "ArrayDataModule", "--data.X", tmp_path / "data.npz", "--name", "w")
    done = lit("fit", *given, "--trainer.max_epochs", 1, "--test_best", "true")
    assert (done.status, done.err) == (0, "")
    run = tmp_path / "runs/w/version_0"
    assert lit("predict", "--ckpt_path", run).status == 0
    data = ArrayDataModule(tmp_path / "data.npz")
    data.setup("test")
    model = MLPClassifier.load_from_checkpoint(run / "checkpoints/best.ckpt")
    split = data._splits["test"]
    with torch.no_grad():
        p = model(split.samples.x[split.rows]).double().softmax(1)
    expected = sk.log_loss(split.y, p, sample_weight=split.weight, labels=[0, 1, 2])
    assert f"{expected:.4f}"[:5] in (run / "test_metrics.json").read_text()
