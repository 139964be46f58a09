"""The lean epoch loop: the same calls, counters and numbers as Lightning's own."""

import logging

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, LambdaCallback
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from torch.utils.data import DataLoader, TensorDataset

from lit_course import ArrayDataModule, MLPClassifier
from lit_course.modules.lean_loop import LeanEpochLoop

slow = pytest.mark.slow
HOOKS = [name for name in vars(Callback) if name.startswith("on_")]


class Recorder(Callback):
    """Every hook that was called, with what it was given and every counter of the loops."""

    def __init__(self):
        self.calls = []

    def record(self, hook, trainer, *given):
        shown = [value for value in given if isinstance(value, int)]
        losses = [value["loss"].item() for value in given if isinstance(value, dict)]
        losses += [value.item() for value in given if isinstance(value, torch.Tensor)]
        rates = [group["lr"] for o in trainer.optimizers for group in o.param_groups]
        counters = trainer.fit_loop.state_dict()
        where = trainer.lightning_module._current_fx_name
        self.calls.append((hook, where, shown, losses, rates, trainer.global_step, counters))


def _recording(hook):
    def call(self, trainer, module, *given):
        if hook not in ("on_save_checkpoint", "on_load_checkpoint"):
            self.record(hook, trainer, *given)

    return call


for hook in HOOKS:
    setattr(Recorder, hook, _recording(hook))


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(150, 6, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 1).long()
    return ArrayDataModule(x, y, batch_size=16, val_size=30, test_size=0)


def model(**options):
    torch.manual_seed(1)
    given = {"hidden_features": [8], "optimizer_options": {}, **options}
    return MLPClassifier(6, 3, **given)


def train(tmp_path, is_lean, model, callbacks=(), ckpt_path=None, loader=None, **flags):
    model.lean_loop = is_lean
    torch.manual_seed(2)  # dropout
    trainer = Trainer(
        callbacks=list(callbacks),
        default_root_dir=tmp_path / str(is_lean),
        logger=flags.pop("logger", False),
        enable_model_summary=False,
        enable_progress_bar=False,
        **{"max_epochs": 3, "enable_checkpointing": False, "num_sanity_val_steps": 1, **flags},
    )
    given = {"datamodule": data()} if loader is None else {"train_dataloaders": loader}
    trainer.fit(model, **given, ckpt_path=ckpt_path, weights_only=True if ckpt_path else None)
    return trainer


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"val_check_interval": 3},
        {"max_steps": 11, "max_epochs": -1},
        {"limit_train_batches": 4, "limit_val_batches": 1},
        pytest.param({"overfit_batches": 2}, marks=slow),
        pytest.param({"val_check_interval": 0.5, "check_val_every_n_epoch": 2}, marks=slow),
        pytest.param({"limit_train_batches": 0.5, "min_epochs": 2}, marks=slow),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr_scheduler": "CosineAnnealingLR", "lr_interval": "step", "warmup_steps": 5},
        {"lr_scheduler": "ExponentialLR", "lr_scheduler_options": {"gamma": 0.5}},
        pytest.param(
            {"lr_scheduler": "ReduceLROnPlateau", "lr_scheduler_options": {"patience": 0}},
            marks=slow,
        ),
    ],
    ids=["fixed", "cosine", "exponential", "plateau"],
)
def test_every_hook_is_called_as_ever(tmp_path, flags, options):
    called = {}
    for is_lean in (False, True):
        recorder = Recorder()
        train(tmp_path, is_lean, model(**options), [recorder], **flags)
        called[is_lean] = recorder.calls
    assert len(called[True]) == len(called[False]) > 50
    for lean, ordinary in zip(called[True], called[False], strict=True):
        assert lean == ordinary
    assert "on_train_batch_end" in {call[0] for call in called[True]}


def steps_of(model, tmp_path, is_lean, **flags):
    losses = []
    keep = LambdaCallback(
        on_train_batch_end=lambda trainer, module, outputs, *_: losses.append(outputs["loss"])
    )
    trainer = train(tmp_path, is_lean, model, [keep], **flags)
    return torch.stack(losses), trainer


OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True, "fused": True},
    "Adam": {"fused": True},
    "AdamW": {"amsgrad": True},
    "RMSprop": {},
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "optimizer", ["SGD", "Adam", *(pytest.param(name, marks=slow) for name in ("AdamW", "RMSprop"))]
)
def test_losses_and_weights_are_bit_equal(tmp_path, optimizer, seed):
    options = {"optimizer": optimizer, "optimizer_options": OPTIMIZERS[optimizer], "lr": 0.01}
    network = {"dropout": 0.2, "normalization": "batch", "class_weights": "balanced"}
    results = {}
    for is_lean in (False, True):
        torch.manual_seed(seed)
        module = MLPClassifier(6, 3, [12, 8], **network, **options)
        losses, trainer = steps_of(module, tmp_path, is_lean)
        assert isinstance(trainer.fit_loop.epoch_loop, LeanEpochLoop)
        assert trainer.fit_loop.epoch_loop._is_lean == is_lean
        results[is_lean] = (losses, module.state_dict(), dict(trainer.callback_metrics))
    losses, weights, metrics = results[True]
    assert torch.equal(losses, results[False][0])
    assert len(losses) == 3 * 8
    assert all(torch.equal(value, results[False][1][name]) for name, value in weights.items())
    assert metrics == results[False][2]
    assert {"train/accuracy", "train/f1", "train/loss", "val/loss"} <= metrics.keys()


@pytest.mark.parametrize("stopped_in", [False, True], ids=["Lightning's", "lean"])
def test_a_checkpoint_within_an_epoch_goes_on_in_either_loop(tmp_path, stopped_in):
    options = {"dropout": 0.2, "lr_scheduler": "CosineAnnealingLR", "lr_interval": "step"}
    whole = model(**options)
    losses, _ = steps_of(whole, tmp_path, False)
    path = tmp_path / "middle.ckpt"

    def keep(trainer, *_):
        if trainer.global_step == 11:
            trainer.save_checkpoint(path)

    train(tmp_path, stopped_in, model(**options), [LambdaCallback(on_train_batch_end=keep)])
    again = model(**options)
    rest, _ = steps_of(again, tmp_path, not stopped_in, ckpt_path=path)
    assert torch.equal(rest, losses[11:])
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())


class Noisy(Callback):
    """A callback of somebody else: it logs by itself within a batch, and ends the fit in one."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        module.log("rows", float(len(batch[1])), on_step=False, on_epoch=True)

    def on_after_backward(self, trainer, module):
        slope = module.network.output.weight.grad.abs().max()
        module.log("slope", slope, on_step=True, on_epoch=True, batch_size=1)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        module.log("seen", outputs["loss"], batch_size=len(batch[1]))
        trainer.should_stop = trainer.global_step == 13


def test_a_foreign_callback_may_log_and_stop_within_an_epoch(tmp_path):
    logged = {}
    for is_lean in (False, True):
        trainer = train(tmp_path, is_lean, model(), [Noisy()], logger=True, log_every_n_steps=3)
        assert trainer.global_step == 13
        folder = tmp_path / str(is_lean) / "lightning_logs" / "version_0"
        logged[is_lean] = (points(folder), dict(trainer.callback_metrics))
    assert logged[True] == logged[False]
    assert {"slope_step", "seen", "rows"} <= logged[True][0].keys()


def points(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(point.step, point.value) for point in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_a_foreign_loader_is_trained_on_as_ever(tmp_path):
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    rows = TensorDataset(x, (x[:, 0] > 0).long())
    results = {}
    for is_lean in (False, True):
        order = torch.Generator().manual_seed(3)
        loader = DataLoader(rows, batch_size=16, shuffle=True, generator=order)
        results[is_lean], trainer = steps_of(model(), tmp_path, is_lean, loader=loader)
        assert trainer.fit_loop.epoch_loop._is_lean == is_lean
    assert torch.equal(results[True], results[False])


class Clipped(MLPClassifier):
    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, **_):
        torch.nn.utils.clip_grad_value_(self.parameters(), 1e-3)


class Odd(MLPClassifier):
    def training_step(self, batch, batch_idx):
        return {"loss": super().training_step(batch, batch_idx)}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"gradient_clip_val": 0.1}, "gradient_clip_val is set"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches is set"),
        ({"precision": "bf16-mixed"}, "precision is bf16-mixed"),
        ({"profiler": "simple"}, "a profiler listens"),
    ],
    ids=str,
)
def test_what_asks_for_more_gets_lightnings_own_loop(tmp_path, caplog, flags, said):
    with caplog.at_level(logging.INFO):
        trainer = train(tmp_path, True, model(), **flags)
    assert not trainer.fit_loop.epoch_loop._is_lean
    assert f"training in Lightning's own loop: {said}" in caplog.messages


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (Clipped, {}, "Clipped has its own configure_gradient_clipping"),
        (Odd, {}, "Odd has its own training_step"),
        (MLPClassifier, {"optimizer": "LBFGS"}, "LBFGS evaluates a batch several times"),
    ],
)
def test_a_module_that_asks_for_more_gets_lightnings_own_loop(
    tmp_path, caplog, kind, options, said
):
    with caplog.at_level(logging.INFO):
        train(tmp_path, True, kind(6, 3, [4], **options), max_epochs=1)
    assert f"training in Lightning's own loop: {said}" in caplog.messages


def test_plain_updates_need_no_line(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        train(tmp_path, True, model())
    assert not any("loop" in message for message in caplog.messages)


def test_a_callback_may_ask_for_more_from_some_epoch_on(tmp_path, caplog):
    updates = {}
    for is_lean in (False, True):
        with caplog.at_level(logging.INFO):
            scheduler = GradientAccumulationScheduler({0: 1, 1: 4})
            trainer = train(tmp_path, is_lean, model(), [scheduler])
        updates[is_lean] = trainer.global_step
    assert updates == {False: 8 + 2 + 2, True: 8 + 2 + 2}
    said = "training in Lightning's own loop: accumulate_grad_batches is set"
    assert caplog.messages.count(said) == 1


def test_the_same_trainer_trains_another_module_in_its_own_loop(tmp_path):
    from lightning.pytorch.demos.boring_classes import BoringModel

    trainer = train(tmp_path, True, model(), max_epochs=1)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(BoringModel())
    loop = trainer.fit_loop.epoch_loop
    assert isinstance(loop, _TrainingEpochLoop)
    assert not loop._is_lean
