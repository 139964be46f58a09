"""What all modules share, in somebody else's project: a plain Trainer and ordinary loaders."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from processes import in_one_worker, run_script
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassCohenKappa

from lit_course.modules import LinearRegressor, MLPClassifier, MLPRegressor


def sgd(lr=0.05, **options):
    return {"optimizer": "SGD", "lr": lr, "optimizer_options": options}


# ------------------------------------------------------------------ equal to a loop by hand


def bare_loop(weights, batches, epochs, lr):
    """Two linear layers with a ReLU between them, trained by hand."""
    w1, b1, w2, b2 = (w.clone().requires_grad_() for w in weights)
    for _ in range(epochs):
        for x, y in batches:
            hidden = torch.relu(F.linear(x, w1, b1))
            loss = F.cross_entropy(F.linear(hidden, w2, b2), y)
            gradients = torch.autograd.grad(loss, (w1, b1, w2, b2))
            with torch.no_grad():
                for parameter, gradient in zip((w1, b1, w2, b2), gradients, strict=True):
                    parameter.add_(gradient, alpha=-lr)  # rounds once, as torch's SGD does
    return w1, b1, w2, b2


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("epochs", [1, 3])
def test_training_equals_a_bare_loop(images, epochs, make_trainer, loader, blobs):
    """101 samples in batches of 16: the last batch has 5."""
    x, y = blobs
    if images:
        x = torch.randint(0, 256, (101, 1, 8, 8), dtype=torch.uint8)
        floats = (x / 255).flatten(1)
    else:
        floats = x
    model = MLPClassifier(floats.shape[1], 3, [8], standardize=False, **sgd())
    start = [parameter.detach().clone() for parameter in model.network.parameters()]
    validation = loader(x, y, 32)
    trainer = make_trainer(max_epochs=epochs)
    trainer.fit(model, loader(x, y, 16), validation)

    batches = list(zip(floats.split(16), y.split(16), strict=True))
    expected = bare_loop(start, batches, epochs, 0.05)
    for ours, theirs in zip(model.network.parameters(), expected, strict=True):
        assert torch.equal(ours, theirs)
    with torch.no_grad():
        logits = F.linear(torch.relu(F.linear(floats, *expected[:2])), *expected[2:])
        assert torch.equal(model(x), logits)
    loss = F.cross_entropy(logits.double(), y)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(float(loss), rel=1e-6)
    accuracy = sk.accuracy_score(y, logits.argmax(1))
    assert float(trainer.callback_metrics["val/accuracy"]) == pytest.approx(accuracy, rel=1e-6)


def test_accumulated_batches_equal_one_large_batch_where_they_are_equal(make_trainer, loader, line):
    x, y = line[0][:96], line[1][:96]

    def fit(batch_size, accumulate):
        torch.manual_seed(0)
        model = LinearRegressor(3, **sgd())
        make_trainer(accumulate_grad_batches=accumulate).fit(model, loader(x, y, batch_size))
        return model.network.linear.weight

    torch.testing.assert_close(fit(8, 3), fit(24, 1))


def test_gradient_clipping_keeps_its_meaning(make_trainer, loader, line):
    model = LinearRegressor(3, standardize=False, **sgd(lr=1.0))
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    trainer = make_trainer(gradient_clip_val=0.01, max_steps=1, max_epochs=-1)
    trainer.fit(model, loader(*line))
    step = nn.utils.parameters_to_vector(model.parameters()) - before
    assert float(step.detach().norm()) == pytest.approx(0.01, rel=1e-3)


# ------------------------------------------------------------------ every value, every epoch


class Watch(Callback):
    """Records what the network answered in training, and what was reported."""

    def __init__(self, validation):
        self.x, self.y = validation
        self.epochs = []

    def on_fit_start(self, trainer, pl_module):
        def keep(module, inputs, outputs):
            if module.training and not trainer.sanity_checking:
                self.outputs.append(outputs.detach().clone())

        pl_module.network.register_forward_hook(keep)

    def on_train_epoch_start(self, trainer, pl_module):
        self.outputs, self.targets = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.targets.append(batch[1])

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            with torch.no_grad():
                self.epochs.append(
                    {
                        "train": (torch.cat(self.outputs), torch.cat(self.targets)),
                        "val": (pl_module.network(self.x), self.y),
                    }
                )


def classification_values(outputs, y):
    p, predicted = outputs.softmax(1), outputs.argmax(1)
    macro = {"average": "macro", "zero_division": 0}
    return {
        "loss": float(F.cross_entropy(outputs.double(), y)),
        "accuracy": sk.accuracy_score(y, predicted),
        "f1": sk.f1_score(y, predicted, **macro),
        "precision": sk.precision_score(y, predicted, **macro),
        "recall": sk.recall_score(y, predicted, **macro),
        "auroc": np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in y.unique()]),
    }


def regression_values(outputs, y):
    outputs, y = outputs.detach().double().squeeze(1).numpy(), y.double().numpy()
    return {
        "loss": sk.mean_squared_error(y, outputs),
        "mae": sk.mean_absolute_error(y, outputs),
        "mse": sk.mean_squared_error(y, outputs),
        "rmse": sk.root_mean_squared_error(y, outputs),
        "r2": sk.r2_score(y, outputs),
    }


@pytest.mark.parametrize("task", ["classification", "line", "regression"])
@pytest.mark.parametrize("sanity", [0, 2])
def test_every_epoch_reports_its_own_samples_and_no_others(
    task, sanity, make_trainer, loader, blobs, line
):
    """Three epochs in shuffled batches, against scikit-learn on the answers that were given."""
    torch.manual_seed(0)
    if task == "classification":
        (x, y), values = blobs, classification_values
        model = MLPClassifier(4, 4, [8], standardize=False)  # class 3 never occurs
    else:
        (x, y), values = line, regression_values
        kind = LinearRegressor if task == "line" else MLPRegressor
        unscaled = {"standardize": False, "target_transform": "identity"}
        model = kind(3, 1, lr=0.1, **unscaled)
    watch = Watch((x[:31], y[:31]))
    logger = Memory()
    trainer = make_trainer(
        max_epochs=3,
        num_sanity_val_steps=sanity,
        callbacks=[watch],
        logger=logger,
        log_every_n_steps=7,
    )
    trainer.fit(model, loader(x, y, 16, shuffle=True), loader(x[:31], y[:31], 7))
    expected = [
        {
            f"{stage}/{name}": value
            for stage, answers in epoch.items()
            for name, value in values(*answers).items()
        }
        for epoch in watch.epochs
    ]
    assert len(expected) == 3
    for name in expected[0]:
        logged = list(logger.steps(name).values())
        assert logged == pytest.approx([truth[name] for truth in expected], rel=1e-6), name
    assert expected[0]["val/loss"] != expected[1]["val/loss"]


def test_sanity_checks_change_no_number(make_trainer, loader, blobs):
    def fit(sanity):
        torch.manual_seed(0)
        trainer = make_trainer(max_epochs=2, num_sanity_val_steps=sanity)
        model = MLPClassifier(4, 3, [8], normalization="batch", dropout=0.2)
        trainer.fit(model, loader(*blobs, 16, shuffle=True), loader(*blobs))
        return {k: float(v) for k, v in trainer.callback_metrics.items()}

    assert fit(0) == fit(2)


class Interrupt(Callback):
    """Ends a run in the middle of an epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 2:
            raise RuntimeError("interrupted")


def test_an_interrupted_run_leaves_nothing_behind(make_trainer, loader, line):
    x, y = line
    model = LinearRegressor(3, standardize=False, **sgd(lr=0.0))
    with pytest.raises(RuntimeError, match="interrupted"):
        make_trainer(callbacks=[Interrupt()]).fit(model, loader(x, y + 100, 10))
    trainer = make_trainer()
    trainer.fit(model, loader(x, y))
    with torch.no_grad():
        expected = float(F.mse_loss(model(x)[:, 0], y))
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(expected, rel=1e-6)


def test_own_training_steps_work_too(make_trainer, loader, line):
    class Own(LinearRegressor):
        def training_step(self, batch, batch_idx):
            return F.l1_loss(self(batch[0])[:, 0], batch[1])

    trainer = make_trainer(max_epochs=30, logger=Memory(), log_every_n_steps=1)
    trainer.fit(Own(3, lr=0.1), loader(*line), loader(*line))
    assert float(trainer.callback_metrics["val/r2"]) > 0.9


def test_a_step_of_lbfgs_is_reported_once(make_trainer, loader, line):
    """It evaluates the batch up to twenty times an update; the first is before the update."""
    model = LinearRegressor(3, optimizer="LBFGS", lr=1.0, standardize=False)
    with torch.no_grad():
        before = regression_values(model(line[0]), line[1])
    trainer = make_trainer()
    trainer.fit(model, loader(*line, 101))
    reported = {k: float(v) for k, v in trainer.callback_metrics.items()}
    assert reported == pytest.approx({f"train/{k}": v for k, v in before.items()}, rel=1e-5)


# --------------------------------------------------------------------------------- logging


class Memory(Logger):
    """Keeps what was logged."""

    def __init__(self):
        super().__init__()
        self.rows, self.hyperparameters = [], {}

    name = version = "memory"

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))

    def log_hyperparams(self, params, *args):
        self.hyperparameters.update(params)

    def steps(self, name):
        return {step: row[name] for step, row in self.rows if name in row}


def test_the_loss_of_a_batch_is_logged_every_n_updates(make_trainer, loader, line):
    """Whatever is accumulated or added to it; and again in a second fit."""
    x, y = line[0][:96], line[1][:96]
    model = LinearRegressor(3, l2=5.0, standardize=False, **sgd(lr=0.0))
    with torch.no_grad():
        losses = [float(F.mse_loss(model(a)[:, 0], b)) for a, b in loader(x, y, 8)]
    for _ in range(2):
        logger = Memory()
        trainer = make_trainer(
            max_epochs=2, logger=logger, log_every_n_steps=2, accumulate_grad_batches=3
        )
        trainer.fit(model, loader(x, y, 8))
        logged = logger.steps("train/loss_step")
        # Four updates an epoch, each after the third batch of three; the first has number 0.
        expected = {1: losses[5], 3: losses[11], 5: losses[5], 7: losses[11]}
        assert logged == pytest.approx(expected)
        assert len(logger.steps("train/loss")) == 2
        assert logger.steps("train/loss").popitem()[1] == pytest.approx(np.mean(losses))
        assert {key for _, row in logger.rows for key in row if "step" in key} == {
            "train/loss_step"
        }


def test_the_penalty_is_reported_apart_from_the_loss(make_trainer, loader, line):
    model = LinearRegressor(3, l1=0.5, l2=5.0, standardize=False, **sgd(lr=0.0))
    trainer = make_trainer()
    trainer.fit(model, loader(*line))
    w = model.network.linear.weight.detach().double()
    values = trainer.callback_metrics
    assert float(values["train/loss"]) == pytest.approx(float(values["train/mse"]), rel=1e-6)
    expected = float(2 * 0.5 * w.abs().sum() + 5 / 101 * w.square().sum())
    assert float(values["train/penalty"]) == pytest.approx(expected, rel=1e-6)


def test_hyperparameters_are_logged_with_the_sizes_that_came_later(make_trainer, loader, blobs):
    logger = Memory()
    make_trainer(logger=logger, log_every_n_steps=1).fit(
        MLPClassifier(hidden_features=[4]), datamodule=Described(loader(*blobs))
    )
    assert logger.hyperparameters["in_features"] == 4
    assert logger.hyperparameters["num_classes"] == 3


# ---------------------------------------------------------------------- batches and sizes


class Foreign(LightningDataModule):
    """Somebody's data module, which says nothing of its data."""

    def __init__(self, data):
        super().__init__()
        self.save_hyperparameters({"lr": 7, "batch_size": 3})  # as models have, too
        self.data = data

    def train_dataloader(self):
        return self.data

    def val_dataloader(self):
        return self.data

    predict_dataloader = test_dataloader = val_dataloader


class Described(Foreign):
    """One that does."""

    in_features = np.int64(4)
    num_classes = np.int64(3)
    schema = {"class_names": ("a", "b", "c"), "feature_names": list("wxyz")}  # noqa: RUF012


def test_a_foreign_data_module_works_with_the_sizes_given(make_trainer, loader, blobs):
    data = Foreign(loader(*blobs))
    model = MLPClassifier(4, 3, [4], lr_scheduler="ReduceLROnPlateau", class_weights="balanced")
    trainer = make_trainer(logger=Memory(), log_every_n_steps=1)
    trainer.fit(model, datamodule=data)
    assert set(trainer.test(model, datamodule=data, verbose=False)[0]) >= {"test/loss", "test/f1/2"}
    predicted = trainer.predict(model, datamodule=data)
    assert torch.equal(torch.cat([p["class"] for p in predicted]), model(blobs[0]).argmax(1))


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_sizes_and_names_come_from_the_data_module_and_are_kept(
    verb, make_trainer, loader, blobs, tmp_path
):
    model = MLPClassifier(hidden_features=[4])
    assert not model.is_built
    trainer = make_trainer()
    getattr(trainer, verb)(model, datamodule=Described(loader(*blobs)))
    assert model.class_names == ["a", "b", "c"]
    trainer.save_checkpoint(tmp_path / "named.ckpt")
    again = MLPClassifier.load_from_checkpoint(tmp_path / "named.ckpt")
    assert dict(again.hparams) == dict(model.hparams)
    assert (again.in_features, again.num_classes) == (4, 3)
    assert again.class_names == ["a", "b", "c"]
    assert torch.equal(again(blobs[0]), model(blobs[0]))


def test_sizes_that_nobody_says_are_asked_for(make_trainer, loader, blobs):
    data = loader(*blobs)
    with pytest.raises(ValueError, match="MLPClassifier needs num_classes, and no data module"):
        make_trainer().fit(MLPClassifier(4), data)
    with pytest.raises(ValueError, match="LinearRegressor needs in_features"):
        make_trainer().fit(LinearRegressor(), datamodule=Foreign(data))
    with pytest.raises(RuntimeError, match="has no layers yet: give in_features, num_classes"):
        MLPClassifier()(blobs[0])


def test_data_of_other_sizes_than_the_models_is_refused(make_trainer, loader, blobs):
    with pytest.raises(ValueError, match="was made for num_classes=5, the data has 3"):
        make_trainer().fit(MLPClassifier(4, 5), datamodule=Described(loader(*blobs)))


class Batches(IterableDataset):
    """Ready-made batches of any form."""

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("standardize", [True, False])
def test_a_batch_may_bring_extras_and_must_be_a_pair(standardize, make_trainer, blobs):
    x, y = blobs

    def fit(*batches):
        trainer = make_trainer(max_epochs=1)
        model = MLPClassifier(4, 3, [4], standardize=standardize)
        trainer.fit(model, DataLoader(Batches(*batches), batch_size=None))
        return trainer

    trainer = fit((x, y, {"weight": torch.ones(101)}), [x, y])
    assert trainer.global_step == 2
    for bad, found in [
        ({"x": x, "y": y}, "dict"),
        ((x,), "list of 1|tuple of 1"),
        (x[:2], "Tensor"),
        ((x, y, {}, y), "list of 4|tuple of 4"),
    ]:
        with pytest.raises(
            TypeError, match=rf"must be \(x, y\) or \(x, y, extras\), found {found}"
        ):
            fit(bad)


def test_prediction_needs_no_targets(make_trainer, blobs):
    x, y = blobs
    model = MLPClassifier(4, 3, [4])
    batches = [x, [x], (x, y), (x, y, {})]
    answers = make_trainer().predict(model, DataLoader(Batches(*batches), batch_size=None))
    assert all(torch.equal(a["probabilities"], answers[0]["probabilities"]) for a in answers)


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_another_number_of_features_is_refused_in_every_stage(stage, make_trainer, loader, blobs):
    x, y = blobs
    with pytest.raises(ValueError, match="takes 4 features a sample, found 3") as caught:
        getattr(make_trainer(), stage)(MLPClassifier(4, 3, [4]), loader(x[:, :3], y))
    assert len(str(caught.value).splitlines()) <= 5


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_features_that_are_not_finite_are_refused_without_scaling_too(
    stage, make_trainer, loader, blobs
):
    x, y = blobs
    x[3, 1] = torch.nan
    with pytest.raises(ValueError, match="features must be finite"):
        getattr(make_trainer(), stage)(MLPClassifier(4, 3, [4], standardize=False), loader(x, y))


# ----------------------------------------------------------------- checkpoints and copies


@pytest.fixture
def checkpoints(make_trainer, loader, blobs, line, tmp_path):
    """A trained module of each kind, its data, and its checkpoint."""
    made = []
    for model, data in [
        (MLPClassifier(4, 3, [8], normalization="batch", class_weights="balanced"), blobs),
        (LinearRegressor(3, degree=2, l2=1.0), line),
        (MLPRegressor(3, 1, [8], normalization="batch", loss="quantile"), line),
    ]:
        path = tmp_path / f"{type(model).__name__}.ckpt"
        trainer = make_trainer()
        trainer.fit(model, loader(*data), loader(*data))
        trainer.save_checkpoint(path)
        made.append((model.eval(), data, path))
    return made


def test_checkpoints_are_plain_and_hold_no_metric(checkpoints):
    for model, _, path in checkpoints:
        file = torch.load(path, weights_only=True)
        assert file["hyper_parameters"] == dict(model.hparams)
        assert file["lit_course"]["class"] == type(model).__name__
        assert file["lit_course"]["metrics"]["val/loss"] > 0
        kinds = {key.partition(".")[0] for key in file["state_dict"]}
        assert kinds <= {"network", "loss", "num_samples", "mean_weight", "target_scaling"}


FRESH = """
import sys
for name in [name for name in sys.modules if name.startswith("lit_course")]:
    del sys.modules[name]
sys.modules["jsonargparse"] = None  # what only the command line needs
import torch
from lit_course import LinearRegressor, MLPClassifier, MLPRegressor
models = (MLPClassifier, LinearRegressor, MLPRegressor)
for model, (x, answers) in zip(models, torch.load(folder + "/answers.pt"), strict=True):
    loaded = model.load_from_checkpoint(folder + f"/{model.__name__}.ckpt").eval()
    assert torch.equal(loaded(x), answers), model
"""


def in_a_new_interpreter(script: str, folder: str) -> int:
    command = [sys.executable, "-c", f"folder = {folder!r}\n{script}"]
    return subprocess.run(command, check=False).returncode


@in_one_worker
@pytest.mark.parametrize(
    "run", [run_script, pytest.param(in_a_new_interpreter, marks=pytest.mark.slow)]
)
def test_checkpoints_load_in_a_fresh_process_without_arguments(checkpoints, tmp_path, run):
    answers = [(data[0], model(data[0]).detach()) for model, data, _ in checkpoints]
    torch.save(answers, tmp_path / "answers.pt")
    assert run(FRESH, folder=str(tmp_path)) == 0


def test_the_checkpoint_of_another_class_is_refused(checkpoints, make_trainer, loader):
    (_, _, classifier), (model, data, _), _ = checkpoints
    with pytest.raises(ValueError, match="is of MLPClassifier, not of LinearRegressor"):
        LinearRegressor.load_from_checkpoint(classifier)
    with pytest.raises(ValueError, match="is of MLPClassifier, not of LinearRegressor"):
        make_trainer().fit(model, loader(*data), ckpt_path=classifier)


def test_arguments_may_be_changed_on_loading(checkpoints):
    (model, (x, _), path), *_ = checkpoints
    loaded = MLPClassifier.load_from_checkpoint(path, lr=0.5, map_location="cpu").eval()
    assert (loaded.lr, loaded.hparams["lr"]) == (0.5, 0.5)
    assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_answer_alike_and_go_on_by_themselves(copied, checkpoints, make_trainer, loader):
    for model, (x, y), _ in checkpoints:
        twin = copied(model)
        assert torch.equal(twin(x), model(x))
        assert twin.val_metrics.check.__self__ is twin
        before = {key: value.clone() for key, value in model.state_dict().items()}
        make_trainer().fit(twin.train(), loader(x, y), loader(x, y))
        assert not torch.equal(twin(x), model(x))
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_untrained_module_can_be_copied_too():
    model = MLPClassifier(4, 3)
    assert not copy.deepcopy(MLPClassifier()).is_built
    assert dict(pickle.loads(pickle.dumps(model)).hparams) == dict(model.hparams)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_run_resumed_behind_the_last_batch_of_an_epoch_reports_that_epoch_whole(
    make_trainer, loader, blobs, tmp_path
):
    """The file was written after the validation, before the epoch's own end."""

    def fit(resume=None):
        torch.manual_seed(0)
        logger = Memory()
        callback = ModelCheckpoint(
            tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=False
        )
        trainer = make_trainer(
            max_epochs=3,
            enable_checkpointing=True,
            callbacks=[callback],
            logger=logger,
            log_every_n_steps=4,
        )
        model = MLPClassifier(4, 3, [8], normalization="batch")
        trainer.fit(model, loader(*blobs), loader(*blobs), ckpt_path=resume)
        return logger.steps("train/loss"), trainer.callback_metrics

    whole, final = fit()
    resumed, final_after = fit(tmp_path / "epoch=1.ckpt")
    assert resumed == dict(list(whole.items())[1:])
    assert final_after == final


# ------------------------------------------------------------------- evaluation and modes


def test_two_evaluations_of_one_checkpoint_are_equal_to_the_last_bit(
    make_trainer, loader, blobs, tmp_path
):
    model = MLPClassifier(4, 3, [8], normalization="batch", dropout=0.5)
    trainer = make_trainer()
    trainer.fit(model, loader(*blobs))
    trainer.save_checkpoint(tmp_path / "one.ckpt")

    def test():
        return make_trainer().test(
            MLPClassifier(4, 3, [8], normalization="batch", dropout=0.5),
            loader(*blobs),
            ckpt_path=tmp_path / "one.ckpt",
            verbose=False,
        )[0]

    assert test() == test()


def test_the_trainer_switches_modes_and_evaluation_keeps_no_gradient(make_trainer, loader, blobs):
    seen = []

    class Modes(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append(("train", pl_module.network.dropout1.training, torch.is_grad_enabled()))

        def on_validation_batch_end(self, trainer, pl_module, outputs, *args):
            seen.append(("val", pl_module.network.dropout1.training, torch.is_grad_enabled()))
            assert all(value.grad_fn is None for value in outputs.values())

    model = MLPClassifier(4, 3, [8], dropout=0.5)
    trainer = make_trainer(max_epochs=2, callbacks=[Modes()])
    trainer.fit(model, loader(*blobs), loader(*blobs))
    assert set(seen) == {("train", True, True), ("val", False, False)}
    for parameter in model.parameters():
        parameter.grad = None
    trainer.validate(model, loader(*blobs), verbose=False)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true", "bf16-true"])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll", "focal", "bce"])
def test_classification_in_other_precisions(precision, loss, make_trainer, loader, blobs):
    x, y = blobs
    y = y.clamp_max(1) if loss == "bce" else y
    x = x.double() if precision == "64-true" else x
    model = MLPClassifier(4, 2 if loss == "bce" else 3, [16], loss=loss, lr=0.02)
    trainer = make_trainer(max_epochs=10, precision=precision)
    trainer.fit(model, loader(x, y, 16), loader(x, y))
    assert float(trainer.callback_metrics["val/accuracy"]) > 0.6
    wanted = {"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(precision, torch.float32)
    assert {p.dtype for p in model.parameters()} == {wanted}


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("loss", ["mse", "l1", "smooth_l1", "huber"])
def test_regression_in_other_precisions_is_measured_against_exact_targets(
    precision, loss, make_trainer, loader, line
):
    """Targets of 2000 ± 1, which bfloat16 would round to multiples of 8."""
    x, y = line[0], 2000 + line[1].sign() * 0.5
    x, y = (x.double(), y.double()) if precision == "64-true" else (x, y)
    model = LinearRegressor(3, loss=loss, initial_weights=[0.0, 0.0, 0.0, 2000.0], **sgd(lr=0.0))
    trainer = make_trainer(precision=precision)
    trainer.fit(model, loader(x, y), loader(x, y))
    assert float(trainer.callback_metrics["val/mae"]) == 0.5


# ------------------------------------------------------------------- places to subclass


class Skip(nn.Module):
    """A network of somebody's own."""

    def __init__(self, width):
        super().__init__()
        self.direct = nn.Linear(width, 3)
        self.around = nn.Sequential(nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, 3))

    def forward(self, x):
        return self.direct(x) + self.around(x)


class OwnClassifier(MLPClassifier):
    """All three places, and an argument more."""

    def __init__(self, *args, temperature: float = 1.0, **kwargs):
        self.temperature = temperature
        super().__init__(*args, **kwargs)

    def configure_network(self):
        return Skip(self.in_features)

    def configure_loss(self):
        temperature = self.temperature

        class Heated(nn.Module):
            def forward(self, outputs, target):
                return F.cross_entropy(outputs / temperature, target)

        return Heated()

    def configure_metrics(self):
        return MetricCollection({"kappa": MulticlassCohenKappa(self.num_classes)})


def test_own_network_loss_and_metric_appear_in_the_results(make_trainer, loader, blobs, tmp_path):
    x, y = blobs
    model = OwnClassifier(4, 3, temperature=2.0, monitor="val/kappa", lr=0.01,
                          lr_scheduler="ReduceLROnPlateau")  # fmt: skip
    assert model.monitor_mode == "max"
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, loader(x, y, 16), loader(x, y, 32))
    assert {k for k in trainer.callback_metrics if "/loss" not in k} == {"train/kappa", "val/kappa"}
    with torch.no_grad():
        outputs = model(x)
    kappa = sk.cohen_kappa_score(y, outputs.argmax(1))
    assert float(trainer.callback_metrics["val/kappa"]) == pytest.approx(kappa, rel=1e-6)
    loss = F.cross_entropy(outputs.double() / 2, y)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(float(loss), rel=1e-6)

    trainer.save_checkpoint(tmp_path / "own.ckpt")
    again = OwnClassifier.load_from_checkpoint(tmp_path / "own.ckpt")
    assert again.temperature == 2.0
    assert torch.equal(again(x), outputs)
    with pytest.raises(ValueError, match="is of OwnClassifier, not of MLPClassifier"):
        MLPClassifier.load_from_checkpoint(tmp_path / "own.ckpt")


def test_a_subclass_reads_its_parents_checkpoints(checkpoints):
    (model, (x, _), path), *_ = checkpoints

    class Renamed(MLPClassifier):
        pass

    assert torch.equal(Renamed.load_from_checkpoint(path).eval()(x), model(x))


def test_an_argument_of_a_subclass_must_be_plain():
    with pytest.raises(TypeError, match="temperature must be a plain value"):
        OwnClassifier(4, 3, temperature=torch.ones(1))


# -------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll", "focal"])
def test_one_batch_is_learned_by_heart(normalization, loss, make_trainer, loader):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, 4, generator=generator)
    y = torch.randint(0, 3, (16,), generator=generator)
    torch.manual_seed(0)
    model = MLPClassifier(4, 3, [64], normalization=normalization, loss=loss, lr=0.02)
    # The same batch over and over, in one epoch.
    trainer = make_trainer()
    trainer.fit(model, loader(x.repeat(150, 1), y.repeat(150), 16), loader(x, y, 16))
    assert float(trainer.callback_metrics["val/loss"]) < 0.02
    assert float(trainer.callback_metrics["val/accuracy"]) == 1
