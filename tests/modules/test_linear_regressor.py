"""The linear regressor: least squares against scikit-learn, the course's replay, its targets."""

import re

import numpy as np
import polars
import pytest
import sklearn.metrics as sk
import torch
from lightning.pytorch import Callback
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from lit_course.losses import REGRESSION_LOSSES
from lit_course.modules import LinearRegressor

# The whole split in a batch: seconds. L-BFGS takes a few epochs of twenty evaluations.
QUICK = {
    "epochs": 20,
    "optimizer": "LBFGS",
    "lr": 1.0,
    "optimizer_options": {"line_search_fn": "strong_wolfe"},
}
# Gradient descent with momentum, at a rate that falls to zero.
MOMENTUM = {
    "epochs": 400,
    "optimizer": "SGD",
    "lr": 0.1,
    "optimizer_options": {"momentum": 0.9},
    "lr_scheduler": "LinearDecay",
}


@pytest.fixture
def diabetes():
    x, y = load_diabetes(return_X_y=True, scaled=False)
    return train_test_split(x, y, test_size=0.2, random_state=0)


@pytest.fixture
def boston(shared_data):
    file = shared_data / "boston.csv"
    if not file.is_file():
        pytest.skip(f"{file} does not exist")
    table = polars.read_csv(file, schema_overrides={"chas": polars.String})
    table = table.with_columns(polars.col("chas").str.strip_chars("'\"").cast(polars.Float64))
    x = table.drop("medv").to_numpy().astype(float)
    return train_test_split(x, table["medv"].to_numpy(), test_size=0.2, random_state=0)


@pytest.fixture
def fit(make_trainer, loader):
    """Fit a regressor to NumPy arrays, the whole split in a batch."""

    def run(x, y, epochs, **arguments):
        torch.manual_seed(0)
        model = LinearRegressor(x.shape[1], **arguments)
        data = loader(torch.tensor(x).float(), torch.tensor(y).float(), len(x))
        make_trainer(max_epochs=epochs).fit(model, data)
        return model.eval()

    return run


def assert_same_solution(model, reference, split, make_trainer, loader):
    """Coefficients within 1 % in norm; MAE and MSE of the test split within 1 %."""
    _, x, _, y = split
    values = [float(v) for v in model.coefficients().values()]
    if hasattr(reference, "coef_"):
        assert_close_in_norm(values, [*reference.coef_, reference.intercept_], 0.01)
    tensors = torch.tensor(x).float(), torch.tensor(y).float()
    (tested,) = make_trainer().test(model, loader(*tensors), verbose=False)
    predicted = reference.predict(x)
    assert tested["test/mae"] == pytest.approx(sk.mean_absolute_error(y, predicted), rel=0.01)
    assert tested["test/mse"] == pytest.approx(sk.mean_squared_error(y, predicted), rel=0.01)


@pytest.mark.parametrize("data", ["diabetes", pytest.param("boston", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(QUICK, id="L-BFGS"),
        pytest.param(MOMENTUM, id="momentum", marks=pytest.mark.slow),
    ],
)
def test_gradient_descent_reaches_least_squares(data, recipe, fit, make_trainer, loader, request):
    split = request.getfixturevalue(data)
    x, _, y, _ = split
    reference = LinearRegression().fit(x, y)
    assert_same_solution(fit(x, y, **recipe), reference, split, make_trainer, loader)


def assert_close_in_norm(found, expected, rel):
    assert np.linalg.norm(np.asarray(found) - expected) <= rel * np.linalg.norm(expected)


@pytest.mark.parametrize("data", ["diabetes", "boston"])
@pytest.mark.parametrize("alpha", [1.0, 100.0])
def test_l2_is_ridges_alpha(data, alpha, fit, request):
    x, _, y, _ = request.getfixturevalue(data)
    x = StandardScaler().fit_transform(x)
    linear = fit(x, y, l2=alpha, **QUICK).network.linear
    reference = Ridge(alpha=alpha).fit(x, y)
    assert_close_in_norm(linear.weight.detach()[0], reference.coef_, 0.002)
    assert linear.bias.item() == pytest.approx(reference.intercept_, rel=1e-4)
    # The penalty is felt: least squares is elsewhere.
    without = LinearRegression().fit(x, y).coef_
    assert np.linalg.norm(without - reference.coef_) > 0.01 * np.linalg.norm(reference.coef_)


@pytest.mark.slow
@pytest.mark.parametrize(("data", "alpha"), [("diabetes", 2.0), ("boston", 0.05)])
def test_l1_is_lassos_alpha(data, alpha, fit, request):
    x, _, y, _ = request.getfixturevalue(data)
    model = fit(x, y, l1=alpha, **MOMENTUM)
    x = StandardScaler().fit_transform(x)
    reference = Lasso(alpha=alpha, tol=1e-8).fit(x, y)
    assert_close_in_norm(model.network.linear.weight.detach()[0], reference.coef_, 0.01)
    assert model.network.linear.bias.item() == pytest.approx(reference.intercept_, rel=1e-4)
    without = LinearRegression().fit(x, y).coef_
    assert np.linalg.norm(without - reference.coef_) > 0.02 * np.linalg.norm(reference.coef_)


def test_penalties_of_several_outputs_are_ridges_of_each(fit, diabetes):
    x, _, y, _ = diabetes
    targets = np.stack([y, 3 * x[:, 2] - y], 1)
    model = fit(x, targets, out_features=2, l2=50.0, **QUICK)
    reference = Ridge(alpha=50.0).fit(StandardScaler().fit_transform(x), targets)
    np.testing.assert_allclose(
        model.network.linear.weight.detach(), reference.coef_, rtol=1e-3, atol=1e-2
    )


def test_degree_2_is_scikit_learns_pipeline(fit, make_trainer, loader):
    generator = np.random.default_rng(0)
    x = generator.normal([0, 2, -1], size=(150, 3))
    y = 1 + x @ [1, -2, 0.5] + x[:, 0] * x[:, 1] - 0.3 * x[:, 2] ** 2 + generator.normal(size=150)
    split = train_test_split(x, y, random_state=0)
    model = fit(split[0], split[2], degree=2, **QUICK)
    expand = PolynomialFeatures(2, include_bias=False)
    reference = make_pipeline(expand, StandardScaler(), LinearRegression()).fit(split[0], split[2])
    assert_same_solution(model, reference, split, make_trainer, loader)
    raw = LinearRegression().fit(expand.transform(split[0]), split[2])
    names = [*expand.get_feature_names_out(["x0", "x1", "x2"]), "intercept"]
    ours = model.coefficients()
    assert list(ours) == names
    np.testing.assert_allclose(
        [float(v) for v in ours.values()], [*raw.coef_, raw.intercept_], rtol=1e-2, atol=1e-3
    )


def test_coefficients_are_in_original_units_by_name_whatever_the_standardisation(fit, line):
    x, y = line[0].numpy(), line[1].numpy()
    schema = {"feature_names": ["a", "b", "c"]}
    scaled = fit(x, y, schema=schema, **QUICK).coefficients()
    raw = fit(x, y, schema=schema, standardize=False, **QUICK).coefficients()
    reference = LinearRegression().fit(x, y)
    expected = dict(zip("abc", reference.coef_, strict=True)) | {"intercept": reference.intercept_}
    assert list(scaled) == list(raw) == ["a", "b", "c", "intercept"]
    for found in (scaled, raw):
        assert {k: float(v) for k, v in found.items()} == pytest.approx(expected, rel=1e-3)


def test_without_a_bias_the_line_has_none(fit, line):
    x, y = line[0].numpy(), line[1].numpy()
    model = fit(x, y, bias=False, standardize=False, **QUICK)
    reference = LinearRegression(fit_intercept=False).fit(x, y)
    assert model.network.linear.bias is None
    *weights, intercept = (float(v) for v in model.coefficients().values())
    assert weights == pytest.approx(list(reference.coef_), rel=1e-3)
    assert intercept == 0


def test_coefficients_of_several_outputs_have_one_value_each(fit, line):
    x, y = line[0].numpy(), line[1].numpy()
    model = fit(x, np.stack([y, -2 * y], 1), out_features=2, **QUICK)
    reference = LinearRegression().fit(x, y)
    for found, expected in zip(
        model.coefficients().values(), [*reference.coef_, reference.intercept_], strict=True
    ):
        assert found.tolist() == pytest.approx([expected, -2 * expected], rel=1e-2)


# ------------------------------------------------------------------------- roller coaster


class Steps(Callback):
    """The loss and the gradients of every step."""

    def __init__(self):
        self.losses, self.gradients = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        gradients = [p.grad.flatten() for p in pl_module.parameters()]
        self.gradients.append(torch.cat(gradients).tolist())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))


def test_the_courses_roller_coaster_replayed(make_trainer, loader):
    """LESSONS.md, lesson 1, without the noise: its losses and its first gradient."""
    t = torch.arange(20.0)
    speed = 0.75 * (t - 9.5) ** 2 + 1
    a, b, c = -0.7658, -0.7506, 1.3525
    model = LinearRegressor(
        1,
        degree=2,
        standardize=False,
        initial_weights=[b, a, c],  # in the order of the features: t, t²
        optimizer="SGD",
        lr=1e-5,
    )
    steps = Steps()
    make_trainer(max_epochs=20, callbacks=[steps]).fit(model, loader(t[:, None], speed, 20))
    assert steps.losses[:3] == pytest.approx([25751, 5369, 1512], abs=0.5)
    assert steps.losses[10:] == pytest.approx([612] * 10, abs=1)
    of_b, of_a, of_c = steps.gradients[0]
    assert (of_a, of_b, of_c) == pytest.approx((-53188, -3417, -253), abs=0.5)


# -------------------------------------------------------------------- values and targets


ERRORS = {
    "mae": sk.mean_absolute_error,
    "mse": sk.mean_squared_error,
    "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score,
}


@pytest.mark.parametrize("loss", ["mse", "l1", "smooth_l1", "huber"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_whole_split_is_reported_whatever_the_batches(loss, outputs, make_trainer, loader):
    """Targets of 2000 ± 1, where float32 sums would be wrong; a second output of another scale."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(101, 3, generator=generator)
    scale = torch.tensor([1.0, 30.0])[:outputs]
    y = 2000 + scale * torch.randn(101, outputs, generator=generator)
    model = LinearRegressor(3, outputs, loss=loss, standardize=False)
    with torch.no_grad():
        model.network.linear.bias.fill_(2000)
        predicted = model(x)
    exact = model.loss(predicted.double(), y.double())
    true, predicted = y.double().numpy(), predicted.double().numpy()
    expected = {
        "test/loss": float(exact),
        "test/mae": sk.mean_absolute_error(true, predicted),
        "test/mse": sk.mean_squared_error(true, predicted),
        "test/rmse": sk.root_mean_squared_error(true, predicted),
        "test/r2": sk.r2_score(true, predicted),
    }
    if outputs == 2:
        for name, of in ERRORS.items():
            each = of(true, predicted, multioutput="raw_values")
            expected |= {f"test/{name}/{k}": value for k, value in enumerate(each)}
    for batch_size in (1, 7, 32, 101):
        (values,) = make_trainer().test(model, loader(x, y, batch_size), verbose=False)
        assert values == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
def test_every_loss_trains(loss, make_trainer, loader, line):
    model = LinearRegressor(3, loss=loss, lr=0.1)
    trainer = make_trainer(max_epochs=30)
    trainer.fit(model, loader(*line, 16), loader(*line))
    assert float(trainer.callback_metrics["val/r2"]) > 0.99


def test_both_shapes_of_one_target_give_the_same_weights(make_trainer, loader, line):
    x, y = line

    def weights(target):
        torch.manual_seed(0)
        model = LinearRegressor(3, lr=0.1)
        make_trainer(max_epochs=3).fit(model, loader(x, target, 16))
        return torch.cat([p.flatten() for p in model.parameters()])

    assert torch.equal(weights(y), weights(y[:, None]))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.uint8])
def test_targets_may_be_any_numbers(dtype, make_trainer, loader, line):
    x, y = line[0], (10 * line[1]).round().abs().to(dtype)
    model = LinearRegressor(3, l2=1.0)
    trainer = make_trainer()
    trainer.fit(model, loader(x, y if dtype != torch.int64 else y - 10**9))
    assert trainer.callback_metrics["train/loss"].isfinite()
    assert model.num_samples == 101


@pytest.mark.parametrize(
    ("change", "outputs", "message"),
    [
        (lambda y: torch.stack([y, y], 1), 1, "targets must be of shape (32, 1), found (32, 2)"),
        (lambda y: y, 2, "targets must be of shape (32, 2), found (32,)"),
        (lambda y: y[:, None], 2, "targets must be of shape (32, 2), found (32, 1)"),
        (lambda y: y[:, None, None], 1, "targets must be of shape (32, 1), found (32, 1, 1)"),
        (lambda y: y.index_fill(0, torch.tensor(3), torch.nan), 1, "targets must be finite"),
        (lambda y: y.index_fill(0, torch.tensor(3), torch.inf), 1, "targets must be finite"),
        (lambda y: y.index_fill(0, torch.tensor(90), torch.nan), 1, "targets must be finite"),
    ],
)
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
@pytest.mark.parametrize("standardize", [True, False])
def test_wrong_targets_are_refused(
    change, outputs, message, stage, standardize, make_trainer, loader, line
):
    x, y = line
    model = LinearRegressor(3, outputs, standardize=standardize)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        getattr(make_trainer(), stage)(model, loader(x, change(y)))
    assert len(str(caught.value).splitlines()) <= 5


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("features", [2, 4])
def test_another_number_of_features_is_refused(degree, features, make_trainer, loader, line):
    x, y = torch.randn(101, features), line[1]
    with pytest.raises(ValueError, match=f"takes 3 features a sample, found {features}"):
        make_trainer().fit(LinearRegressor(3, degree=degree), loader(x, y))


@pytest.mark.parametrize("outputs", [1, 2])
def test_predictions_are_in_the_shape_of_the_targets(outputs, make_trainer, loader, line):
    x, y = line
    model = LinearRegressor(3, outputs)
    answers = make_trainer().predict(model, loader(x, y, 40))
    whole = torch.cat([a["prediction"] for a in answers])
    with torch.no_grad():
        expected = model(x)
    assert torch.equal(whole, expected[:, 0] if outputs == 1 else expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [1, 2])
def test_initial_weights_are_weights_then_intercepts(bias, outputs):
    values = [float(i) for i in range(outputs * 3 + (outputs if bias else 0))]
    network = LinearRegressor(3, outputs, bias=bias, initial_weights=values).network
    assert network.linear.weight.flatten().tolist() == values[: outputs * 3]
    if bias:
        assert network.linear.bias.tolist() == values[outputs * 3 :]
    with pytest.raises(ValueError, match=f"initial_weights needs {len(values)} values, found 1"):
        LinearRegressor(3, outputs, bias=bias, initial_weights=[1.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "mae"}, "unknown loss 'mae'; did you mean 'mse'"),
        ({"loss": "huber", "loss_options": {"beta": 1.0}}, "option of loss 'huber' 'beta'"),
        ({"degree": 0}, "must be at least 1, found 1 and 0"),
        ({"out_features": 0}, "must be at least 1, found 0 and 1"),
        ({"l1": -1.0}, "l1 and l2 must not be negative, and finite, found -1.0 and 0.0"),
        ({"freeze": ["network.bias"]}, "matches no parameter"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        LinearRegressor(3, **arguments)
    assert len(str(caught.value).splitlines()) <= 5


def test_coefficients_of_nothing_are_refused_in_words():
    with pytest.raises(RuntimeError, match=r"no layers yet: give in_features"):
        LinearRegressor().coefficients()
