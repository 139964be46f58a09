"""The MLP for regression: scikit-learn, intervals that hold, original units, one checkpoint."""

import json
import re

import numpy as np
import polars as pl
import pytest
import sklearn.metrics as sk
import torch
from lightning.pytorch import LightningDataModule
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, QuantileRegressor
from sklearn.model_selection import train_test_split
from torch import nn

from lit_course import ArrayDataModule, LinearRegressor, MLPClassifier, MLPRegressor
from lit_course.modules.mlp_regressor import LOSSES

TRANSFORMS = ["identity", "standard", "log"]
QUICK = {
    "optimizer": "LBFGS",
    "lr": 1.0,
    "optimizer_options": {"line_search_fn": "strong_wolfe", "max_iter": 100},
}
POINT_LOSSES = ["mse", "l1", "smooth_l1", "huber"]
INTERVAL = ["quantile", "gaussian_nll"]


@pytest.fixture
def diabetes():
    x, y = load_diabetes(return_X_y=True, scaled=False)
    return train_test_split(x, y, test_size=0.2, random_state=0)


@pytest.fixture
def two_targets(line):
    """A line, and a second target of another size; none below 0."""
    x, y = line
    return x, torch.stack([y - y.min(), 1000 * (x[:, 0] - y + 20)], 1)


@pytest.fixture
def noisy():
    """4000 samples of a curve whose noise grows with x, on another scale; half are held out."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4000, 1, generator=generator)
    noise = (0.1 + 0.5 * x) * torch.randn(4000, 1, generator=generator)
    y = 5000 + 1000 * (torch.sin(6 * x) + noise)
    return (x[:2000], y[:2000]), (x[2000:], y[2000:])


# ------------------------------------------------------------------------- scikit-learn


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_without_hidden_layers_it_is_transformed_target_regressor(
    transform, diabetes, make_trainer, loader
):
    x, x_test, y, y_test = diabetes
    torch.manual_seed(0)
    model = MLPRegressor(10, 1, [], target_transform=transform, **QUICK)
    data = loader(torch.tensor(x).float(), torch.tensor(y).float(), len(x))
    make_trainer(max_epochs=5).fit(model, data)
    functions = {"func": np.log1p, "inverse_func": np.expm1} if transform == "log" else {}
    reference = TransformedTargetRegressor(LinearRegression(), **functions).fit(x, y)
    tensors = torch.tensor(x_test).float(), torch.tensor(y_test).float()
    (tested,) = make_trainer().test(model, loader(*tensors), verbose=False)
    predicted = reference.predict(x_test)
    assert tested["test/mae"] == pytest.approx(sk.mean_absolute_error(y_test, predicted), rel=0.01)
    assert tested["test/mse"] == pytest.approx(sk.mean_squared_error(y_test, predicted), rel=0.01)


@pytest.mark.parametrize("transform", ["identity", "standard"])
def test_linear_quantiles_are_quantile_regressors(transform, line, make_trainer, loader):
    x, y = line
    quantiles = [0.1, 0.5, 0.8]
    model = MLPRegressor(
        3,
        1,
        [],
        target_transform=transform,
        loss="quantile",
        loss_options={"quantiles": quantiles},
        lr=0.05,
        lr_scheduler="LinearDecay",
        lr_interval="step",
    )
    make_trainer().fit(model, loader(x.repeat(400, 1), y.repeat(400), len(x)))
    (answers,) = make_trainer().predict(model, loader(x, y, len(x)))
    for q in quantiles:
        reference = QuantileRegressor(quantile=q, alpha=0).fit(x, y).predict(x)
        ours = sk.mean_pinball_loss(y, answers[f"quantile_{q}"], alpha=q)
        assert ours == pytest.approx(sk.mean_pinball_loss(y, reference, alpha=q), rel=0.01)
    assert torch.equal(answers["prediction"], answers["quantile_0.5"])


def test_a_curve_is_learned_as_scikit_learns_mlp_does(noisy, make_trainer, loader):
    from sklearn.neural_network import MLPRegressor as Reference

    (x, y), (x_test, y_test) = noisy
    model = MLPRegressor(1, 1, [32, 32], lr=0.01)
    make_trainer(max_epochs=30).fit(model, loader(x, y, 200, shuffle=True))
    (tested,) = make_trainer().test(model, loader(x_test, y_test), verbose=False)
    scale = y.mean(), y.std()
    reference = Reference(
        hidden_layer_sizes=[32, 32],
        batch_size=200,
        learning_rate_init=0.01,
        max_iter=30,
        n_iter_no_change=100,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning):  # 30 epochs are what both have
        reference.fit(x, ((y - scale[0]) / scale[1]).ravel())
    theirs = reference.predict(x_test) * float(scale[1]) + float(scale[0])
    assert tested["test/mae"] == pytest.approx(sk.mean_absolute_error(y_test, theirs), rel=0.05)


def test_targets_of_any_size_train_alike(line, make_trainer, loader):
    """The default; as they are, prices would take a thousand times as many steps."""
    x, y = line

    def r2(y, **arguments):
        torch.manual_seed(0)
        trainer = make_trainer(max_epochs=20)
        model = MLPRegressor(3, 1, [32], lr=0.01, **arguments)
        trainer.fit(model, loader(x, y, 16), loader(x, y))
        return float(trainer.callback_metrics["val/r2"])

    assert r2(y) > 0.95
    assert r2(200_000 + 50_000 * y) == pytest.approx(r2(y), abs=1e-3)
    assert r2(200_000 + 50_000 * y, target_transform="identity") < 0


@pytest.mark.parametrize("loss", [*POINT_LOSSES, "quantile"])
def test_one_batch_is_learned_by_heart(loss, make_trainer, loader):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 4, generator=generator), 100 * torch.randn(16, 2, generator=generator)
    torch.manual_seed(0)
    model = MLPRegressor(4, 2, [64], loss=loss, lr=0.02, lr_scheduler="LinearDecay",
                         lr_interval="step")  # fmt: skip
    trainer = make_trainer()
    trainer.fit(model, loader(x.repeat(400, 1), y.repeat(400, 1), 16), loader(x, y, 16))
    assert float(trainer.callback_metrics["val/mae"]) < 5  # of 80 at the start
    assert float(trainer.callback_metrics["val/r2"]) > 0.99


def test_a_likelihood_is_learned_by_heart(make_trainer, loader):
    """Not every mean: what looks noisy at first is given up (Seitzer et al., 2022)."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 4, generator=generator), 100 * torch.randn(16, 2, generator=generator)
    torch.manual_seed(0)
    model = MLPRegressor(4, 2, [64], loss="gaussian_nll", lr=0.02, lr_scheduler="LinearDecay",
                         lr_interval="step")  # fmt: skip
    trainer = make_trainer()
    trainer.fit(model, loader(x.repeat(400, 1), y.repeat(400, 1), 16), loader(x, y, 16))
    assert float(trainer.callback_metrics["val/loss"]) < -2  # 0.5 of mean and variance of all
    (answers,) = make_trainer().predict(model, loader(x, y, 16))
    assert ((answers["prediction"] - y).abs() < 4 * answers["std"]).all()


# ---------------------------------------------------------------------------- intervals


@pytest.mark.parametrize(
    ("loss", "transform"),
    [
        ("quantile", "standard"),
        ("gaussian_nll", "log"),
        pytest.param("quantile", "log", marks=pytest.mark.slow),
        pytest.param("gaussian_nll", "standard", marks=pytest.mark.slow),
    ],
)
def test_nine_of_ten_held_out_targets_lie_in_their_interval(
    loss, transform, noisy, make_trainer, loader
):
    """To 3 % of them all, to 5 % of each half: where there is little noise it is narrow."""
    (x, y), (x_test, y_test) = noisy
    torch.manual_seed(0)
    model = MLPRegressor(1, 1, [32, 32], loss=loss, target_transform=transform, lr=0.01,
                         lr_scheduler="LinearDecay")  # fmt: skip
    make_trainer(max_epochs=40).fit(model, loader(x, y, 200, shuffle=True))
    (answers,) = make_trainer().predict(model, loader(x_test, y_test, 2000))
    ends = ("quantile_0.05", "quantile_0.95") if loss == "quantile" else ("lower", "upper")
    low, high = (answers[end] for end in ends)
    inside = ((low <= y_test[:, 0]) & (y_test[:, 0] <= high)).float()
    assert float(inside.mean()) == pytest.approx(0.9, abs=0.03)
    left = x_test[:, 0] < 0.5
    assert float(inside[left].mean()) == pytest.approx(0.9, abs=0.05)
    assert float(inside[~left].mean()) == pytest.approx(0.9, abs=0.05)
    widths = high - low
    true_widths = 2 * 1.645 * 1000 * (0.1 + 0.5 * x_test[:, 0])
    assert float((widths / true_widths).log().abs().mean()) < 0.15
    if loss == "gaussian_nll" and transform == "standard":
        torch.testing.assert_close(answers["std"], widths / (2 * 1.6448536))


# ----------------------------------------------------------------------- original units


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_what_is_reported_is_in_original_units_whatever_the_batches(
    loss, transform, two_targets, make_trainer, loader
):
    x, y = two_targets
    schema = {"target_names": ["small", "large"]}
    torch.manual_seed(0)
    model = MLPRegressor(3, 2, [8], loss=loss, target_transform=transform, lr=1e-3, schema=schema)
    make_trainer().fit(model, loader(x, y))
    model.eval()
    with torch.no_grad():
        predicted = model(x)
        outputs = model.network(x)
        scaled = model.target_scaling(y)
        expected = {"loss": float(model.loss.double()(outputs.double(), scaled.double()))}
        model.float()
    assert predicted.shape == (101, 2)
    for name, of in {
        "mae": sk.mean_absolute_error,
        "mse": sk.mean_squared_error,
        "rmse": sk.root_mean_squared_error,
        "r2": sk.r2_score,
    }.items():
        raw = of(y.double(), predicted.double(), multioutput="raw_values")
        expected |= {name: raw.mean(), f"{name}/small": raw[0], f"{name}/large": raw[1]}
    expected = {f"test/{name}": value for name, value in expected.items()}
    for batch_size in (7, 101):
        (values,) = make_trainer().test(model, loader(x, y, batch_size), verbose=False)
        assert values == pytest.approx(expected, rel=1e-4)


def test_training_reports_the_averages_only(two_targets, make_trainer, loader):
    trainer = make_trainer()
    trainer.fit(MLPRegressor(3, 2, [8]), loader(*two_targets), loader(*two_targets))
    metrics = {"loss", "mae", "mse", "rmse", "r2"}
    assert {name.partition("/")[2] for name in trainer.callback_metrics} == metrics


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_predictions_are_in_the_shape_of_the_targets(
    outputs, loss, two_targets, make_trainer, loader
):
    x, y = two_targets[0], two_targets[1][:, :outputs]
    model = MLPRegressor(3, outputs, [8], loss=loss)
    make_trainer().fit(model, loader(x, y))
    answers = make_trainer().predict(model, loader(x, y, 40))
    columns = {
        "quantile": ["quantile_0.05", "quantile_0.5", "quantile_0.95"],
        "gaussian_nll": ["lower", "upper", "std"],
    }
    assert list(answers[0]) == ["prediction", "residual", *columns.get(loss, [])]
    for name in answers[0]:
        whole = torch.cat([a[name] for a in answers])
        assert whole.shape == ((101,) if outputs == 1 else (101, 2))
    predicted = torch.cat([a["prediction"] for a in answers])
    with torch.no_grad():
        expected = model(x)[:, 0] if outputs == 1 else model(x)
    torch.testing.assert_close(predicted.float(), expected)
    residual = torch.cat([a["residual"] for a in answers])
    torch.testing.assert_close(predicted + residual, y.double().reshape(predicted.shape))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_measure_against_exact_targets(
    precision, loss, line, make_trainer, loader
):
    """Targets of 200,123 ± 0.5, which bfloat16 would round to multiples of 1024."""
    x, y = line[0], 200_123 + line[1].sign() * 0.5
    x = x.double() if precision == "64-true" else x
    model = MLPRegressor(3, 1, [], loss=loss, lr=0.0)
    nn.init.zeros_(model.network.output.weight)
    nn.init.zeros_(model.network.output.bias)
    trainer = make_trainer(precision=precision)
    trainer.fit(model, loader(x, y), loader(x, y))
    expected = (y - y.double().mean()).abs().mean()  # of the mean
    assert float(trainer.callback_metrics["val/mae"]) == pytest.approx(float(expected), abs=0.02)


@pytest.mark.parametrize("loss", LOSSES)
def test_metrics_take_answers_that_are_not_rounded(loss):
    model = MLPRegressor(3, 1, [], loss=loss)
    model.target_scaling.fit(torch.tensor([[200_122.0], [200_124.0]]))
    outputs = torch.full((1, model.network.output.out_features), 1e-3)
    answer = model.answer(outputs)
    assert answer.dtype == torch.float64
    assert answer.item() == pytest.approx(200_123.001, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_in_half_precision_it_learns_too(loss, line, make_trainer, loader):
    """Lightning rounds the targets of a batch there."""
    model = MLPRegressor(3, 1, [16], loss=loss, lr=0.02)
    trainer = make_trainer(max_epochs=10, precision="bf16-true")
    trainer.fit(model, loader(*line, 16), loader(*line))
    assert float(trainer.callback_metrics["val/r2"]) > 0.8
    assert model.target_scaling.mean.dtype == torch.float32


# --------------------------------------------------------------- the training split only


class Foreign(LightningDataModule):
    """Somebody's data module, which says nothing of its data."""

    def __init__(self, train, val):
        super().__init__()
        self.train_dataloader = lambda: train
        self.val_dataloader = lambda: val


@pytest.mark.parametrize("transform", ["standard", "log"])
@pytest.mark.parametrize("standardize", [True, False])
def test_a_foreign_loader_is_counted_once(
    transform, standardize, two_targets, make_trainer, loader, caplog
):
    x, y = two_targets
    model = MLPRegressor(3, 2, [8], target_transform=transform, standardize=standardize)
    with caplog.at_level("INFO"):
        make_trainer().fit(model, datamodule=Foreign(loader(x, y, shuffle=True), loader(x, 9 * y)))
    assert caplog.text.count("one pass over the training data") == 1
    values = y.double().log1p() if transform == "log" else y.double()
    scaling = model.target_scaling
    torch.testing.assert_close(scaling.mean.double(), values.mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(scaling.std.double(), values.std(0, correction=0), rtol=1e-6, atol=0)


def test_no_number_is_learned_from_held_out_rows(two_targets, make_trainer):
    x, y = (values.numpy() for values in two_targets)

    def fitted(y):
        data = ArrayDataModule(x, y, val_size=20, test_size=20)
        torch.manual_seed(0)
        model = MLPRegressor(hidden_features=[8])
        make_trainer().fit(model, datamodule=data)
        assert model.out_features == 2
        return data, model

    data, model = fitted(y)
    kept = data._splits["train"].rows
    changed = y * 100 + 7
    changed[kept] = y[kept]
    _, other = fitted(changed)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    expected = y[kept].mean(0)
    assert model.target_scaling.mean.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


# --------------------------------------------------------------- checkpoints and starts


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("loss", ["mse", *INTERVAL])
def test_a_checkpoint_answers_as_the_model_did(
    transform, loss, two_targets, make_trainer, loader, tmp_path
):
    x, y = two_targets
    model = MLPRegressor(3, 2, [8], normalization="batch", loss=loss, target_transform=transform)
    trainer = make_trainer()
    trainer.fit(model, loader(x, y))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    loaded = MLPRegressor.load_from_checkpoint(tmp_path / "one.ckpt")
    assert dict(loaded.hparams) == dict(model.hparams)
    theirs, ours = (make_trainer().predict(m, loader(x, y, 101))[0] for m in (loaded, model))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(theirs[name], value) for name, value in ours.items())


def test_a_checkpoint_of_other_sizes_is_refused_before_anything_is_made(
    line, make_trainer, loader, tmp_path
):
    trainer = make_trainer()
    trainer.fit(MLPRegressor(3, 1, [4], loss="quantile"), loader(*line))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    file = torch.load(tmp_path / "one.ckpt", weights_only=True)
    file["hyper_parameters"]["loss_options"] = {"quantiles": [i / 999 for i in range(1, 999)]}
    torch.save(file, tmp_path / "one.ckpt")
    message = r"make network.output.weight of shape \(998, 4\), the checkpoint holds \(3, 4\)"
    with pytest.raises(ValueError, match=message):
        MLPRegressor.load_from_checkpoint(tmp_path / "one.ckpt")


def test_trained_weights_keep_the_units_of_their_targets(line, make_trainer, loader, tmp_path):
    x, y = line[0], 1000 + 50 * line[1].abs()
    first = MLPRegressor(3, 1, [8], lr=0.01)
    trainer = make_trainer()
    trainer.fit(first, loader(x, y))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    start = {"init_from": str(tmp_path / "one.ckpt"), "optimizer": "SGD", "lr": 0.0}

    def started(**arguments):
        model = MLPRegressor(3, 1, **{"hidden_features": [8], **start, **arguments})
        make_trainer().fit(model, loader(x, 2 * y))
        return model

    assert torch.equal(started()(x), first(x))
    again = started(target_transform="log")
    assert float(again.target_scaling.mean) == pytest.approx(float((2 * y).log1p().mean()))
    assert torch.equal(again.network(x), first.network(x))
    with pytest.raises(ValueError, match=r"no layer of .* fits this network"):
        started(hidden_features=[5], standardize=False)


def test_a_second_fit_goes_on_in_the_same_units(line, make_trainer, loader):
    x, y = line
    model = MLPRegressor(3, 1, [8])
    make_trainer().fit(model, loader(x, y))
    before = model.target_scaling.mean.clone()
    make_trainer().fit(model, loader(x, y + 1000))
    assert torch.equal(model.target_scaling.mean, before)


# ------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_targets_below_0_have_no_logarithm(stage, line, make_trainer, loader):
    x, y = line
    model = MLPRegressor(3, 1, [4], target_transform="log")
    message = f"target_transform 'log' is for targets of at least 0, found {float(y.min()):g}"
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(make_trainer(), stage)(model, loader(x, y, len(x)))


@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")
def test_targets_below_0_are_found_before_the_first_step(line, make_trainer):
    """Also one that is in no first batch."""
    x, y = line[0].numpy(), line[1].abs().numpy()
    y[50] = -1.0
    data = ArrayDataModule(x, y, batch_size=1, shuffle=False, val_size=0, test_size=0)
    trainer = make_trainer()
    with pytest.raises(ValueError, match="at least 0, found -1"):
        trainer.fit(MLPRegressor(hidden_features=[4], target_transform="log"), datamodule=data)
    assert trainer.global_step == 0


def test_the_targets_of_a_classification_are_not_learned(blobs, make_trainer):
    x, y = (values.numpy() for values in blobs)
    message = "MLPRegressor needs out_features, and ArrayDataModule has none: are its targets what"
    with pytest.raises(ValueError, match=message):
        make_trainer().fit(MLPRegressor(), datamodule=ArrayDataModule(x, y))
    with pytest.raises(ValueError, match="MLPClassifier needs num_classes, and ArrayDataModule"):
        make_trainer().fit(MLPClassifier(), datamodule=ArrayDataModule(x, x[:, 0]))


def test_another_number_of_targets_is_refused(two_targets, make_trainer, loader):
    x, y = two_targets
    data = ArrayDataModule(x.numpy(), y.numpy())
    with pytest.raises(ValueError, match="was made for out_features=1, the data has 2"):
        make_trainer().fit(MLPRegressor(out_features=1), datamodule=data)
    for loss in LOSSES:
        for outputs, found in ((1, y), (2, y[:, :1]), (3, y)):
            with pytest.raises(ValueError, match=rf"targets must be of shape \(\d+, {outputs}\)"):
                make_trainer().fit(MLPRegressor(3, outputs, [4], loss=loss), loader(x, found))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "quantiles"}, "unknown loss 'quantiles'; did you mean 'quantile'"),
        ({"loss": "mse", "loss_options": {"interval": 0.8}}, "unknown option of loss 'mse'"),
        ({"loss": "quantile", "loss_options": {"quantiles": [1, 2]}}, "must increase between 0"),
        ({"target_transform": "sqrt"}, "unknown target_transform 'sqrt'"),
        ({"out_features": 0}, "out_features must be at least 1, found 0"),
        ({"in_features": 0}, "in_features must be at least 1, found 0"),
        ({"hidden_features": [0]}, "each of hidden_features must be at least 1"),
        ({"activation": "rellu"}, "unknown activation 'rellu'; did you mean 'relu'"),
        ({"normalization": "group"}, "unknown normalization 'group'"),
        ({"dropout": 1.0}, r"dropout is a share in \[0, 1\), found 1.0"),
        (
            {"schema": {"target_names": ["a", "b", "c"]}},
            r"out_features is 2, and schema names 3 target\(s\)",
        ),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLPRegressor(**{"in_features": 3, "out_features": 2, **arguments})


@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")
def test_a_last_batch_of_one_under_batch_normalisation(make_trainer, line):
    x, y = (values[:33].numpy() for values in line)
    data = ArrayDataModule(x, y, batch_size=8, val_size=0, test_size=0)
    with pytest.raises(ValueError, match="the last batch of an epoch has one sample"):
        make_trainer().fit(MLPRegressor(normalization="batch"), datamodule=data)


# ---------------------------------------------------------------------- places to subclass


class OwnRegressor(MLPRegressor):
    """A network and a loss of somebody's own."""

    def configure_network(self):
        return nn.Sequential(nn.Linear(self.in_features, 8), nn.Tanh(), nn.Linear(8, 1))

    def configure_loss(self):
        class Quartic(nn.Module):
            def forward(self, outputs, target):
                return (outputs - target).pow(4).mean()

        return Quartic()


def test_a_network_and_a_loss_of_ones_own_are_scaled_too(line, make_trainer, loader, tmp_path):
    x, y = line[0], 5000 + 100 * line[1]
    trainer = make_trainer(max_epochs=40)
    model = OwnRegressor(3, 1, lr=0.02)
    trainer.fit(model, loader(x, y, 16), loader(x, y))
    assert float(trainer.callback_metrics["val/r2"]) > 0.9
    assert model(x).mean().item() == pytest.approx(float(y.mean()), rel=0.01)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    assert torch.equal(OwnRegressor.load_from_checkpoint(tmp_path / "own.ckpt")(x), model(x))


# ------------------------------------------------------------------- the linear regressor


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_coefficients_of_a_line_are_in_original_units(
    transform, two_targets, make_trainer, loader
):
    x, y = two_targets
    y = y if transform == "log" else 1000 * (1 + y)
    model = LinearRegressor(3, 2, target_transform=transform, **QUICK)
    make_trainer(max_epochs=5).fit(model, loader(x, y, len(x)))
    reference = LinearRegression().fit(x, y.log1p() if transform == "log" else y)
    found = torch.stack(list(model.coefficients().values()), 1)
    expected = np.column_stack([reference.coef_, reference.intercept_])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("transform", ["standard", "log"])
def test_an_exact_solution_has_no_use_for_scaled_targets(transform):
    with pytest.raises(ValueError, match=f"has no use for target_transform '{transform}'"):
        LinearRegressor(3, solver="exact", target_transform=transform)
    LinearRegressor(3, solver="exact", target_transform="identity")


# --------------------------------------------------------------------- the command line


@pytest.fixture
def houses(tmp_path):
    generator = np.random.default_rng(0)
    size, age = generator.uniform(50, 200, 200), generator.integers(0, 60, 200)
    price = 3000 * size - 1000 * age + 20 * size * generator.normal(size=200)
    table = pl.DataFrame({"size": size, "age": age, "price": price, "rent": price / 300 + 5.5})
    table.write_csv(tmp_path / "houses.csv")
    return ("--data", "CSVDataModule", "--data.path", tmp_path / "houses.csv")


@pytest.mark.parametrize(
    ("loss", "options", "columns"),
    [
        ("mse", "{}", []),
        ("quantile", "{quantiles: [0.1, 0.5]}", ["quantile_0.1", "quantile_0.5"]),
        ("gaussian_nll", "{interval: 0.8}", ["lower", "upper", "std"]),
    ],
)
@pytest.mark.parametrize("targets", [["price"], ["price", "rent"]])
def test_fit_test_and_predict(loss, options, columns, targets, houses, lit, tmp_path):
    model = ("--model", "MLPRegressor", "--model.hidden_features", "[16]", "--model.loss", loss)
    model = (*model, "--model.loss_options", options, "--model.target_transform", "log")
    data = (*houses, "--data.target", json.dumps(targets), "--data.features", '["size", "age"]')
    limits = ("--trainer.max_epochs", 2, "--name", "houses")
    done = lit("fit", *model, *data, *limits, "--test_best", "true")
    assert (done.status, done.err) == (0, "")
    run = tmp_path / "runs/houses/version_0"
    tested = json.loads((run / "test_metrics.json").read_text())
    done = lit("predict", "--ckpt_path", run)
    assert (done.status, done.err) == (0, "")
    table = pl.read_csv(run / "predictions.csv")
    several = len(targets) == 2
    columns = ["prediction", "residual", *columns]
    names = [f"{c}_{t}" if several else c for c in columns for t in targets]
    assert table.columns == ["row", *names]
    truth = pl.read_csv(tmp_path / "houses.csv")[table["row"].to_list()]
    errors = {
        t: sk.mean_absolute_error(truth[t], table[f"prediction_{t}" if several else "prediction"])
        for t in targets
    }
    assert tested["test/mae"] == pytest.approx(np.mean(list(errors.values())), rel=1e-5)
    each = {name: value for name, value in tested.items() if name.startswith("test/mae/")}
    assert each == pytest.approx({f"test/mae/{t}": errors[t] for t in targets if several}, rel=1e-5)
