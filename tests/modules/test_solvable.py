"""The exact fit: its solution against lstsq and scikit-learn, and that it is a fit as any other."""

import re

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lit_course.datamodules import ArrayDataModule
from lit_course.modules import LinearRegressor

EPS = np.finfo(np.float64).eps


@pytest.fixture
def fit(make_trainer, loader):
    """An exact fit to arrays by a foreign loader; the model, and its Trainer as ``trainer``."""

    def run(x, y, flags=None, batch_size=32, **arguments):
        model = LinearRegressor(x.shape[1], solver="exact", **arguments)
        tensors = torch.as_tensor(x).float(), torch.as_tensor(y).float()
        make_trainer(**flags or {}).fit(model, loader(*tensors, batch_size, shuffle=True))
        return model.eval()

    return run


@pytest.fixture
def diabetes():
    """The raw table as float32 has it, in float64."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    return x.astype(np.float32).astype(float), y


def values(model):
    return np.array([value.tolist() for value in model.coefficients().values()]).T


def with_ones(x):
    return np.column_stack([x, np.ones(len(x))])


def distance(found, reference):
    return np.linalg.norm(found - reference) / np.linalg.norm(reference)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_coefficients_are_those_of_lstsq_to_float64(standardize, scale, fit, diabetes):
    x, y = (scale * diabetes[0]).astype(np.float32).astype(float), diabetes[1]
    model = fit(x, y, standardize=standardize)
    reference = scipy.linalg.lstsq(with_ones(x), y)[0]
    assert distance(values(model), reference) <= max(1e-8, 100 * EPS * np.linalg.cond(with_ones(x)))
    # What float32 weights alone would say is further off.
    assert distance(np.concatenate(list(model.network.original_weights()), None), reference) > 1e-9


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("l2", [0.0, 30.0])
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_network_holds_the_minimum(standardize, bias, l2, outputs, fit, diabetes):
    """Of the network's own inputs, standardised or not: that of scikit-learn on the same."""
    x, y = diabetes
    y = np.column_stack([y, 3 * y + x[:, 0]])[:, :outputs].squeeze()
    model = fit(x, y, standardize=standardize, bias=bias, l2=l2, out_features=outputs)
    scaling = model.network.scaling
    inputs = (x - scaling.mean.numpy()) / scaling.std.numpy() if standardize else x
    reference = (Ridge(l2, solver="svd") if l2 else LinearRegression()).set_params(
        fit_intercept=bias
    )
    reference.fit(inputs, y)
    np.testing.assert_allclose(
        model.network.linear.weight.detach(), np.atleast_2d(reference.coef_), rtol=1e-5
    )
    np.testing.assert_allclose(model.exact.weight, np.atleast_2d(reference.coef_), rtol=1e-9)
    predicted = model(torch.tensor(x).float()).detach().squeeze()
    np.testing.assert_allclose(predicted, reference.predict(inputs), rtol=1e-3)
    assert not l2 or model.num_samples == len(x)


@pytest.mark.parametrize("degree", [2, 3])
def test_polynomials_are_scikit_learns_pipeline(degree, fit):
    random = np.random.default_rng(0)
    x = random.normal([0, 2, -1], size=(150, 3)).astype(np.float32).astype(float)
    y = (1 + x @ [1, -2, 0.5] + x[:, 0] * x[:, 1] ** 2 + random.normal(size=150)).astype("f4")
    model = fit(x, y, degree=degree)
    expand = PolynomialFeatures(degree, include_bias=False)
    reference = make_pipeline(expand, LinearRegression()).fit(x, y.astype(float))
    linear = reference[-1]
    assert list(model.coefficients()) == [*expand.get_feature_names_out(), "intercept"]
    assert distance(values(model), [*linear.coef_, linear.intercept_]) < 1e-8


def test_hilbert_and_rank_deficient_tables(fit):
    hilbert = (1 / (1 + np.arange(40)[:, None] + np.arange(8))).astype(np.float32).astype(float)
    y = hilbert @ np.arange(1.0, 9.0)
    design = with_ones(hilbert)
    y32 = y.astype(np.float32).astype(float)
    reference = scipy.linalg.lstsq(design, y32)[0]
    assert distance(values(fit(hilbert, y)), reference) <= 100 * EPS * np.linalg.cond(design)

    twice = hilbert[:, [0, 1, 1]] + np.array([0, 0, 0])
    model = fit(np.column_stack([twice, np.full(40, 7.5)]), y)
    predicted = with_ones(twice) @ scipy.linalg.lstsq(with_ones(twice), y32)[0]
    weights = values(model)
    np.testing.assert_allclose(
        with_ones(twice) @ weights[[0, 1, 2, 4]] + 7.5 * weights[3], predicted
    )
    assert weights[3] == pytest.approx(0)
    assert weights[1] == pytest.approx(weights[2])


def test_more_columns_than_rows_and_a_handful_of_rows(fit):
    x = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32).astype(float)
    y = np.arange(5.0)
    model = fit(x, y)
    reference = make_pipeline(StandardScaler(), LinearRegression()).fit(x, y)
    unseen = np.random.default_rng(1).normal(size=(9, 20)).astype(np.float32)
    found = model(torch.tensor(unseen)).detach().squeeze()
    np.testing.assert_allclose(found, reference.predict(unseen.astype(float)), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------- a fit


def test_one_update_then_the_epoch_measures_the_solution(fit, diabetes, make_trainer, loader):
    x, y = (torch.tensor(part).float() for part in diabetes)
    trainer = make_trainer(max_epochs=7)
    model = LinearRegressor(10, solver="exact")
    trainer.fit(model, loader(x, y, 50), loader(x[:40], y[:40]))
    assert (trainer.global_step, trainer.current_epoch) == (1, 1)
    reference = LinearRegression().fit(*diabetes)
    assert float(trainer.callback_metrics["train/r2"]) == pytest.approx(reference.score(*diabetes))
    ours = float(trainer.callback_metrics["val/r2"])
    assert ours == pytest.approx(reference.score(diabetes[0][:40], diabetes[1][:40]), rel=1e-5)
    assert model.training


def test_a_second_fit_of_the_same_model_solves_the_new_data(fit, line, make_trainer, loader):
    x, y = line
    model = fit(x, y)
    make_trainer().fit(model.train(), loader(x, -2 * y))
    reference = LinearRegression().fit(x, -2 * y)
    np.testing.assert_allclose(values(model), [*reference.coef_, reference.intercept_], rtol=1e-6)


@pytest.mark.parametrize("limit", [2, 0.5])
def test_only_the_batches_of_the_epoch_count(limit, make_trainer, line):
    x, y = line
    data = ArrayDataModule(x.numpy(), y.numpy(), batch_size=10, val_size=1, test_size=1)
    model = LinearRegressor(solver="exact", l2=1.0)
    seen = []
    trainer = make_trainer(limit_train_batches=limit)
    step = model.training_step
    model.training_step = lambda batch, batch_idx: seen.append(batch) or step(batch, batch_idx)
    trainer.fit(model, datamodule=data)
    rows = torch.cat([batch[0] for batch in seen]), torch.cat([batch[1] for batch in seen])
    assert model.num_samples == len(rows[0]) < 101
    standardised = (rows[0] - model.network.scaling.mean) / model.network.scaling.std
    reference = Ridge(1.0).fit(standardised, rows[1].flatten())
    np.testing.assert_allclose(model.exact.weight[0], reference.coef_, rtol=1e-5)


class Once(IterableDataset):
    """Rows that can be read a single time."""

    def __init__(self, x, y):
        self.rows = iter(list(zip(x, y, strict=True)))

    def __iter__(self):
        return self.rows


def test_a_loader_that_can_be_read_once_is_refused_where_two_passes_are_needed(make_trainer, line):
    x = line[0][:, [0, 1, 1]]
    model = LinearRegressor(3, solver="exact", standardize=False)
    with pytest.raises(ValueError, match=r"first pass over the training data gave \d+ rows"):
        make_trainer().fit(model, DataLoader(Once(x, line[1]), 16))


def test_a_foreign_loader_draws_as_without_the_solver(make_trainer, line):

    def orders(solver):
        torch.manual_seed(3)
        model = LinearRegressor(3, solver=solver)
        seen = []
        step = model.training_step
        model.training_step = lambda batch, batch_idx: (
            seen.append(batch[1]) or step(batch, batch_idx)
        )
        make_trainer().fit(model, DataLoader(TensorDataset(*line), 16, shuffle=True))
        return torch.cat(seen)

    assert torch.equal(orders("exact"), orders("gradient"))


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-true", "bf16-true", "64-true"])
def test_every_precision_is_solved_in_float64(precision, fit, diabetes, make_trainer, loader):
    x, y = diabetes
    model = fit(x, y, flags={"precision": precision})
    reference = scipy.linalg.lstsq(with_ones(x), y)[0]
    # The scaling's buffers are rounded as the Trainer says; the solution is of these.
    tolerance = {"16-true": 0.1, "bf16-true": 1}.get(precision, 1e-8)
    assert distance(values(model), reference) <= tolerance
    assert model.exact.weight.dtype == torch.float64
    assert model.exact.is_of(model.network.linear)


def test_a_conversion_of_the_module_does_not_round_the_solution(fit, diabetes):
    model = fit(*diabetes)
    before = model.exact.weight.clone()
    for convert in (model.half, model.float, model.bfloat16, model.double, model.float):
        convert()
        assert torch.equal(model.exact.weight, before)


# ------------------------------------------------------------------- checkpoints and starts


@pytest.fixture
def saved(fit, line, make_trainer, loader, tmp_path):
    """An exact fit, and its checkpoint."""
    model = LinearRegressor(3, solver="exact", l2=0.1)
    trainer = make_trainer(max_epochs=5)
    trainer.fit(model, loader(*line))
    trainer.save_checkpoint(tmp_path / "exact.ckpt")
    return model, tmp_path / "exact.ckpt"


def test_a_checkpoint_holds_the_solution_to_the_last_bit(saved):
    model, path = saved
    again = LinearRegressor.load_from_checkpoint(path)
    np.testing.assert_array_equal(values(again), values(model))
    assert torch.equal(again.exact.weight, model.exact.weight)
    assert torch.load(path, weights_only=True)["global_step"] == 1


def test_coefficients_of_weights_that_were_trained_since_are_theirs(
    saved, line, make_trainer, loader
):
    _, path = saved
    tuned = LinearRegressor(3, init_from=str(path), optimizer="SGD", lr=0.1)
    make_trainer().fit(tuned, loader(*line))
    assert "exact.weight" not in tuned.state_dict()
    for model in (tuned, LinearRegressor.load_from_checkpoint(path)):
        with torch.no_grad():
            model.network.linear.weight += 0.5
        own = torch.cat([part.flatten() for part in model.network.original_weights()])
        np.testing.assert_array_equal(values(model), own)


@pytest.mark.parametrize("solver", ["gradient", "exact"])
def test_weights_can_be_loaded_for_the_other_solver(
    solver, saved, line, make_trainer, tmp_path, loader
):
    path = saved[1]
    if solver == "exact":
        trainer = make_trainer()
        trainer.fit(LinearRegressor(3), loader(*line))
        trainer.save_checkpoint(path := tmp_path / "gradient.ckpt")
    model = LinearRegressor.load_from_checkpoint(path, solver=solver)
    own = torch.cat([part.flatten() for part in model.network.original_weights()])
    np.testing.assert_array_equal(values(model), own)
    make_trainer().fit(model, loader(*line))
    asked = LinearRegressor(3, solver=solver)
    with pytest.raises(ValueError, match="was fitted with solver"):
        make_trainer(max_epochs=9).fit(asked, loader(*line), ckpt_path=path, weights_only=True)


def test_a_fit_resumed_behind_its_end_changes_nothing(saved, line, make_trainer, loader):
    model, path = saved
    again = LinearRegressor(3, solver="exact", l2=0.1)
    trainer = make_trainer(max_epochs=5)
    trainer.fit(again, loader(*(2 * part for part in line)), ckpt_path=path, weights_only=True)
    np.testing.assert_array_equal(values(again), values(model))
    assert (trainer.global_step, trainer.current_epoch) == (1, 1)


# ----------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"loss": "l1"}, "loss 'l1'"),
        ({"l1": 0.5}, "l1 0.5"),
        ({"initial_weights": [1.0, 2.0, 3.0, 4.0]}, "initial_weights [1.0"),
        ({"optimizer": "SGD", "lr": 0.2}, "optimizer 'SGD', lr 0.2"),
        ({"optimizer_options": {"weight_decay": 0.1}}, "optimizer_options {'weight_decay': 0.1}"),
        ({"lr_scheduler": "CosineAnnealingLR"}, "lr_scheduler 'CosineAnnealingLR'"),
        ({"warmup_steps": 5}, "warmup_steps 5"),
        ({"freeze": ["network.linear.bias"]}, "freeze ['network.linear.bias']"),
        ({"init_from": "a.ckpt"}, "init_from 'a.ckpt'"),
    ],
)
def test_what_acts_on_steps_is_refused_at_construction(arguments, named):
    with pytest.raises(ValueError, match=re.escape(f"has no use for {named}")) as caught:
        LinearRegressor(3, solver="exact", **arguments)
    assert len(str(caught.value).splitlines()) <= 5


def test_an_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="solver must be 'gradient' or 'exact', found 'lstsq'"):
        LinearRegressor(3, solver="lstsq")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"gradient_clip_val": 1.0}, "gradient_clip_val"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches"),
    ],
)
def test_flags_that_act_on_gradients_are_refused(flags, named, fit, line):
    with pytest.raises(ValueError, match=f"leave out the Trainer's {named}"):
        fit(*line, flags=flags)


class OtherNetwork(LinearRegressor):
    def configure_network(self):
        return torch.nn.Linear(3, 1)


class OtherLoss(LinearRegressor):
    def configure_loss(self):
        return torch.nn.L1Loss()


@pytest.mark.parametrize("other", [OtherNetwork, OtherLoss])
def test_a_subclass_with_another_network_or_loss_is_refused(other):
    with pytest.raises(ValueError, match=f"{other.__name__} makes others"):
        other(3, solver="exact")


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("where", ["features", "targets"])
def test_values_that_are_not_finite_are_refused(standardize, where, fit, line):
    x, y = line[0].clone(), line[1].clone()
    (x[:, 0] if where == "features" else y)[90] = torch.nan
    with pytest.raises(ValueError, match="must be finite, found NaN or infinity"):
        fit(x, y, standardize=standardize)


# --------------------------------------------------------------------- the command line


DIABETES = ("--model", "LinearRegressor", "--data", "DiabetesDataModule", "--data.batch_size", 32)
EXACT = (*DIABETES, "--model.solver", "exact", "--name", "exact")


def points(run):
    """What TensorBoard shows of a run: for each tag its steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run)).Reload()
    return {tag: [e.step for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_run_is_as_any_other(lit, tmp_path):
    done = lit(
        "fit", *EXACT, "--trainer.max_epochs", 50, "--early_stopping", 3, "--test_best", "true"
    )
    assert done.status == 0, done.err
    assert "exact solution from 310 rows by the normal equations" in done.out + done.err
    assert "the fit ends after one epoch of 50" in done.out + done.err
    assert "1, to the exact solution; an epoch of 10 batches measures it" in done.out
    run = tmp_path / "runs/exact/version_0"
    names = ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "test_metrics.json", "hparams.yaml")
    assert all((run / name).is_file() for name in names)
    shown = points(run)
    for tag in ("train/loss", "train/r2", "val/loss", "val/r2"):
        assert shown[tag] == [0], tag
    for verb in ("validate", "test", "predict"):
        assert lit(verb, "--ckpt_path", run).status == 0
    again = lit("fit", "--ckpt_path", "last", "--name", "exact", "--trainer.max_epochs", 50)
    assert again.status == 0, again.err
    states = [torch.load(p, weights_only=True) for p in (run / "checkpoints").glob("*.ckpt")]
    assert all(state["global_step"] == 1 for state in states)


def test_a_fit_that_was_stopped_within_its_epoch_goes_on(lit, kicked, tmp_path):
    whole = lit("fit", *EXACT, "--trainer.max_epochs", 1)
    assert whole.status == 0, whole.err
    kicked(4)
    stopped = lit("fit", *EXACT, "--trainer.max_epochs", 1)
    assert stopped.status == 143
    resumed = lit("fit", "--ckpt_path", "last", "--name", "exact", "--trainer.max_epochs", 1)
    assert resumed.status == 0, resumed.err
    runs = [tmp_path / f"runs/exact/version_{number}" for number in (0, 1)]
    first, second = ((run / "fit_metrics.json").read_text() for run in runs)
    assert first == second
    weights = [
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in runs
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize(
    ("options", "status", "named"),
    [
        (("--model.lr", 0.1), 1, "has no use for lr 0.1"),
        (("--trainer.gradient_clip_val", 1), 1, "leave out the Trainer's gradient_clip_val"),
        (("--model.solver", "lstsq"), 2, "one of 'gradient', 'exact', found 'lstsq'"),
    ],
)
def test_the_command_line_refuses_in_words(options, status, named, lit, tmp_path):
    done = lit("fit", *EXACT, "--trainer.max_epochs", 1, *options)
    assert done.status == status
    assert named in done.err.replace("expected ", "")
    assert not list(tmp_path.glob("runs/*/version_*"))


def test_the_other_solver_is_refused_on_a_resume(lit):
    assert lit("fit", *DIABETES, "--trainer.max_epochs", 1, "--name", "exact").status == 0
    done = lit("fit", *EXACT, "--ckpt_path", "last", "--trainer.max_epochs", 2)
    assert done.status == 2
    assert "was trained with solver gradient" in done.err
