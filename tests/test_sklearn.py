"""The estimators: scikit-learn's own checks, and what a Trainer does by hand."""

import inspect
import io
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
import torch
from lightning.pytorch import Trainer
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_classification
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

from lit_course import ArrayDataModule, LinearRegressor, MLPClassifier, MLPRegressor
from lit_course.sklearn import LitLinearRegressor, LitMLPClassifier, LitMLPRegressor

SMALL = {"hidden_features": (16,), "lr": 0.01, "random_state": 0}
WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
# What a check asks that an estimator cannot do, and why; docs/reuse.md says the same.
OF_BATCHES = {WEIGHTS: "a row of weight 2 is in one batch, a row given twice may be in two"}
OF_SCALING = {
    WEIGHTS: "with fewer rows than columns the solution is the least in standardised weights, and "
    "rows of any weight count alike in the standardisation; standardize=False passes"
}
CHECKED = {
    "linear": (LitLinearRegressor(), OF_SCALING),
    "linear, not standardised": (LitLinearRegressor(standardize=False), {}),
    "linear by gradient": (
        LitLinearRegressor(solver="gradient", lr=0.1, max_epochs=50, random_state=0),
        OF_BATCHES,
    ),
    "classifier": (LitMLPClassifier(**SMALL), OF_BATCHES),
    "classifier as it comes": (LitMLPClassifier(), OF_BATCHES),
    "regressor": (LitMLPRegressor(**SMALL), OF_BATCHES),
    "regressor as it comes": (LitMLPRegressor(), OF_BATCHES),
}
# The lines of docs/reuse.md about them: estimator, checks, passed.
LINE = re.compile(r"^\| `(Lit.*)` \| (\d+) \| (\d+) \|", re.MULTILINE)
PAGE = Path(__file__).resolve().parents[1] / "docs/reuse.md"
WRITTEN = {
    "linear": "LitLinearRegressor()",
    "linear, not standardised": "LitLinearRegressor(standardize=False)",
    "linear by gradient": 'LitLinearRegressor(solver="gradient")',
    "classifier as it comes": "LitMLPClassifier()",
    "regressor as it comes": "LitMLPRegressor()",
}
SLOW = CHECKED.keys() - {"linear, not standardised"}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture(scope="module")
def fitted(iris):
    return LitMLPClassifier(**SMALL, max_epochs=5).fit(*iris)


# ------------------------------------------------------------------- scikit-learn's own suite

tells_each = pytest.mark.skipif(
    "on_fail" not in inspect.signature(check_estimator).parameters,
    reason="this scikit-learn's suite ends at the first exception that an estimator needs",
)


@tells_each
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CHECKED],
)
def test_every_check_of_scikit_learn(name):
    """And one that is expected to fail does, so that no exception outlives its reason."""
    estimator, exceptions = CHECKED[name]
    results = check_estimator(
        estimator, expected_failed_checks=exceptions, on_fail=None, on_skip=None
    )
    status = {result["check_name"]: result["status"] for result in results}
    assert {name for name, s in status.items() if s == "xfail"} == set(exceptions)
    # It needs a variable that SciPy reads when it is imported: the next test has it.
    assert {name for name, s in status.items() if s == "skipped"} <= {"check_array_api_input"}
    failed = [r for r in results if r["status"] == "failed"]
    assert not failed, [(r["check_name"], r["exception"]) for r in failed]
    assert len(results) > 50
    if sklearn.__version__.startswith("1.9.") and name in WRITTEN:
        found = {line[0]: line[1:] for line in LINE.findall(PAGE.read_text(encoding="utf-8"))}
        assert found.keys() == set(WRITTEN.values())
        passed = len(results) - len(exceptions)
        assert found[WRITTEN[name]] == (str(len(results)), str(passed))


@tells_each
@pytest.mark.slow
def test_the_check_that_needs_a_variable_before_the_import():
    script = (
        "from sklearn.utils.estimator_checks import check_array_api_input as check\n"
        "from lit_course.sklearn import *\n"
        "for e in (LitLinearRegressor(), LitMLPClassifier((8,)), LitMLPRegressor((8,))):\n"
        "    check(type(e).__name__, e, 'numpy', expect_only_array_outputs=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("estimator", [LitMLPClassifier, LitMLPRegressor])
@pytest.mark.parametrize(
    "check",
    [
        "check_methods_subset_invariance",
        "check_methods_sample_order_invariance",
        "check_n_features_in_after_fitting",
        "check_estimators_nan_inf",
        "check_no_attributes_set_in_init",
    ],
)
def test_some_checks_of_the_slow_ones(estimator, check):
    small = estimator(hidden_features=(8,), max_epochs=1, batch_size=256)
    getattr(estimator_checks, check)(estimator.__name__, small)


# ------------------------------------------------------------------- the module, trained by hand


@pytest.mark.parametrize(
    ("estimator", "module", "skipped"),
    [
        (LitMLPClassifier, MLPClassifier, {"in_features", "num_classes"}),
        (LitMLPRegressor, MLPRegressor, {"in_features", "out_features"}),
        (LitLinearRegressor, LinearRegressor, {"in_features", "out_features"}),
    ],
)
def test_the_arguments_are_the_modules_with_their_defaults(estimator, module, skipped):
    theirs = inspect.signature(module).parameters
    ours = inspect.signature(estimator).parameters
    assert theirs.keys() - ours.keys() <= skipped | {"schema", "one_hot_levels"}
    added = {"max_epochs", "batch_size", "drop_last", "val_size", "early_stopping"}
    assert ours.keys() - theirs.keys() == added | {"accelerator", "random_state"}
    for name in ours.keys() & theirs.keys() - {"solver"}:
        default = theirs[name].default
        assert ours[name].default == (tuple(default) if isinstance(default, list) else default)


NO_VALIDATION = pytest.mark.filterwarnings("ignore:Total length of .* across ranks is zero")


def trained_by_hand(module, X, y, epochs, **options):
    torch.manual_seed(3)
    model = module()
    data = ArrayDataModule(X.astype("float32"), y, val_size=0, test_size=0, seed=3, **options)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    return model


@NO_VALIDATION
def test_it_is_what_a_trainer_makes_of_the_same_seed(iris):
    X, names = iris
    _, labels = np.unique(names, return_inverse=True)
    weight = np.linspace(0.5, 2, len(X))
    arguments = {"hidden_features": [8], "dropout": 0.2, "class_weights": "balanced"}
    expected = trained_by_hand(
        lambda: MLPClassifier(**arguments), X, labels, 4, sample_weight=weight, batch_size=32
    )
    arguments["hidden_features"] = (8,)
    estimator = LitMLPClassifier(**arguments, max_epochs=4, batch_size=32, random_state=3)
    estimator.fit(X, names, sample_weight=weight)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, estimator.module_.state_dict()[name]), name
    with torch.inference_mode():
        p = expected.eval()(torch.tensor(X).float()).softmax(1)
    np.testing.assert_allclose(estimator.predict_proba(X), p, atol=1e-6)
    assert (estimator.predict(X) == estimator.classes_[p.argmax(1)]).all()


@NO_VALIDATION
@pytest.mark.parametrize(
    ("estimator", "module"),
    [(LitMLPRegressor, MLPRegressor), (LitLinearRegressor, LinearRegressor)],
)
def test_a_regressor_is_what_a_trainer_makes_of_the_same_seed(estimator, module):
    X, y = load_diabetes(return_X_y=True)
    hidden = estimator is LitMLPRegressor
    arguments = {"hidden_features": [8]} if hidden else {"target_transform": "standard"}
    expected = trained_by_hand(lambda: module(**arguments), X, y, 3)
    arguments = {"hidden_features": (8,)} if hidden else {**arguments, "solver": "gradient"}
    ours = estimator(**arguments, max_epochs=3, random_state=3).fit(X, y)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, ours.module_.state_dict()[name]), name
    with torch.inference_mode():
        answers = expected.eval()(torch.tensor(X).float())[:, 0]
    np.testing.assert_allclose(ours.predict(X), answers, rtol=1e-5)


def test_the_exact_solution_is_scikit_learns():
    X, y = load_diabetes(return_X_y=True)
    x, targets = X.astype("float32").astype(float), np.stack([y, y[::-1]], 1)
    for given in (y, targets):
        ours, theirs = LitLinearRegressor().fit(x, given), LinearRegression().fit(x, given)
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-9)
    ridge = LitLinearRegressor(l2=3.0, standardize=False).fit(x, y)
    np.testing.assert_allclose(ridge.predict(x), Ridge(3.0).fit(x, y).predict(x), rtol=1e-9)


def test_the_module_is_one_that_a_trainer_can_take_on(fitted, iris, tmp_path):
    X, names = iris
    module = clone(fitted).fit(X, names).module_
    assert module.class_names == list(fitted.classes_)
    labels = np.unique(names, return_inverse=True)[1]
    data = ArrayDataModule(X.astype("float32"), labels, class_names=list(fitted.classes_))
    trainer = Trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "on.ckpt")
    assert MLPClassifier.load_from_checkpoint(tmp_path / "on.ckpt").class_names == list(
        fitted.classes_
    )


# ------------------------------------------------------------------- in scikit-learn's own tools


def test_in_a_pipeline_a_search_and_a_cross_validation(iris):
    X, names = iris
    classifier = LitMLPClassifier((16,), lr=0.03, batch_size=32, max_epochs=5, random_state=0)
    pipeline = make_pipeline(StandardScaler(), classifier)
    assert cross_val_score(pipeline, X, names, cv=2).mean() > 0.9
    search = GridSearchCV(
        pipeline,
        {"litmlpclassifier__lr": [0.0, 0.03], "litmlpclassifier__hidden_features": [(8,)]},
        cv=2,
        error_score="raise",
    )
    search.fit(X, names)
    assert search.best_params_["litmlpclassifier__lr"] == 0.03
    assert search.best_estimator_[-1].classes_.tolist() == ["setosa", "versicolor", "virginica"]


def test_pickled_and_cloned(fitted, iris, tmp_path):
    X, names = iris
    expected = fitted.predict_proba(X)
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    for again in (
        pickle.loads(pickle.dumps(fitted)),
        joblib.load(tmp_path / "fitted.joblib"),
        clone(fitted).fit(X, names),
    ):
        np.testing.assert_array_equal(again.predict_proba(X), expected)
    assert not hasattr(clone(fitted), "module_")


def test_what_scikit_learn_names_is_there(iris):
    pd = pytest.importorskip("pandas")
    X, names = iris
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    estimator = LitMLPClassifier(**SMALL, max_epochs=2).fit(frame, names)
    assert estimator.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert estimator.module_.schema["feature_names"] == ["a", "b", "c", "d"]
    assert (estimator.n_features_in_, estimator.n_iter_) == (4, 2)
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(frame[["b", "a", "c", "d"]])


def test_a_generator_draws_another_seed_each_time(iris):
    generator = np.random.RandomState(0)
    first, second = (
        LitMLPClassifier((4,), max_epochs=1, random_state=generator)
        .fit(*iris)
        .predict_proba(iris[0])
        for _ in range(2)
    )
    assert not np.allclose(first, second)


# ------------------------------------------------------------------- validation and early stopping


def test_it_goes_back_to_the_best_epoch():
    X, y = make_classification(200, flip_y=0.4, random_state=0)
    options = {"hidden_features": (64,), "lr": 0.01, "val_size": 0.3, "random_state": 0}
    longest = LitMLPClassifier(**options, max_epochs=40)
    stopped = clone(longest).set_params(early_stopping=3).fit(X, y)
    assert stopped.n_iter_ < 40
    best = clone(longest).set_params(max_epochs=stopped.n_iter_ - 3).fit(X, y)
    np.testing.assert_array_equal(stopped.predict_proba(X), best.predict_proba(X))


def test_a_threshold_is_tuned_on_rows_held_out():
    X, y = make_classification(300, weights=[0.9], flip_y=0.1, random_state=1)
    options = {**SMALL, "max_epochs": 5, "threshold": "tune"}
    estimator = LitMLPClassifier(**options, val_size=0.3).fit(X, y)
    threshold = estimator.module_.decision_threshold
    assert threshold != 0.5
    decided = estimator.predict_proba(X)[:, 1] > threshold
    np.testing.assert_array_equal(estimator.predict(X), decided.astype(int))
    with pytest.raises(ValueError, match="needs a validation split"):
        LitMLPClassifier(**options).fit(X, y)


# ------------------------------------------------------------------- a guest


def test_it_says_nothing_and_leaves_all_as_it_was(iris, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    text = io.StringIO()
    listener = logging.StreamHandler(text)
    loggers = [logging.getLogger(name) for name in (None, "lightning.pytorch", "lit_course")]
    for logger in loggers:
        logger.addHandler(listener)

    def state():
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            [(log.level, log.handlers[:], log.filters[:], log.propagate) for log in loggers],
            list(logging.getLogger("lightning.pytorch.utilities.rank_zero").filters),
            dict(os.environ),
            list(warnings.filters),
        )

    try:
        before = state()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            before = (*before[:5], list(warnings.filters))
            LitMLPClassifier((8,), max_epochs=2, random_state=0).fit(*iris).predict(iris[0])
            LitLinearRegressor(random_state=0).fit(iris[0], iris[0][:, 0])
            assert state() == before
    finally:
        for logger in loggers:
            logger.removeHandler(listener)
    assert capfd.readouterr() == ("", "")
    assert text.getvalue() == ""
    assert not list(tmp_path.iterdir())


def test_an_interrupt_is_an_interrupt(iris, monkeypatch):
    """Lightning makes an exit of it, and ignores every later Ctrl-C."""

    def interrupt(*args):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(MLPClassifier, "training_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        LitMLPClassifier((4,), val_size=0.2, early_stopping=1).fit(*iris)
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("targets", [1, 2])
def test_coefficients_are_scikit_learns(targets):
    X, y = load_diabetes(return_X_y=True, scaled=False)
    Y = y if targets == 1 else np.column_stack([y, 2 * y + X[:, 0]])
    ours, theirs = LitLinearRegressor().fit(X, Y), LinearRegression().fit(X, Y)
    assert ours.coef_.shape == theirs.coef_.shape
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-3)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-3)
    assert not hasattr(LitLinearRegressor(), "coef_")


def test_log_probabilities_are_those_of_the_probabilities(iris):
    model = LitMLPClassifier((4,), max_epochs=1).fit(*iris)
    np.testing.assert_allclose(
        np.exp(model.predict_log_proba(iris[0])), model.predict_proba(iris[0])
    )


# ------------------------------------------------------------------- bad input


def test_a_width_is_no_list_of_widths(iris):
    with pytest.raises(
        TypeError, match=r"hidden_features is a list of widths, found 3: give \[3\]"
    ):
        LitMLPClassifier(hidden_features=3).fit(*iris)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_epochs": 0}, "max_epochs must be at least 1, found 0"),
        ({"early_stopping": 0}, "early_stopping must be at least 1, found 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, found 0"),
        ({"activation": "rlu"}, "relu"),
        ({"optimizer": "Adm"}, "Adam"),
        ({"hidden_features": (0,)}, "hidden_features must be at least 1"),
        ({"val_size": 1.5}, "val_size must be a fraction"),
        ({"class_weights": [1.0]}, "give one a class"),
    ],
)
def test_bad_arguments_are_named_at_fit(iris, arguments, said):
    with pytest.raises(ValueError, match=said):
        LitMLPClassifier(**arguments).fit(*iris)


def test_unknown_parameters_are_refused():
    with pytest.raises(TypeError, match="hiden_features"):
        LitMLPClassifier(hiden_features=(4,))
    with pytest.raises(ValueError, match="Invalid parameter 'hiden_features'"):
        LitMLPClassifier().set_params(hiden_features=(4,))


def test_steps_have_no_use_for_an_exact_solution():
    with pytest.raises(ValueError, match=r"has no use for lr 0\.5"):
        LitLinearRegressor(lr=0.5).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])


def test_bad_weights_are_refused(iris):
    with pytest.raises(ValueError, match="not negative"):
        LitMLPClassifier((4,)).fit(*iris, sample_weight=np.linspace(-1, 1, 150))


# ------------------------------------------------------------------- speed


def test_threads_are_few_for_a_small_network_and_as_before_afterwards(iris, two_threads):
    seen = []

    class Seen(MLPClassifier):
        def on_train_start(self):
            seen.append(torch.get_num_threads())

    class Estimator(LitMLPClassifier):
        MODULE = Seen

    Estimator((8,), max_epochs=1).fit(*iris)
    Estimator((2000, 2000), max_epochs=1).fit(*iris)
    assert seen == [1, 2]
    assert torch.get_num_threads() == 2


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_search_over_the_digits_takes_less_than_a_minute(two_threads):
    X, y = load_digits(return_X_y=True)
    search = GridSearchCV(
        LitMLPClassifier(hidden_features=(64,), random_state=0),
        {"lr": [1e-3, 3e-3, 1e-2], "dropout": [0.0, 0.2]},
        cv=5,
    )
    started = time.process_time()  # of one core, whatever else the machine does
    search.fit(X, y)
    assert search.best_score_ > 0.93
    assert time.process_time() - started < 60
