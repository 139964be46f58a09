"""Optimizers and schedules through ``fit``: rates against formulas, plateau against torch's own."""

import math
import re

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, IterableDataset
from torchmetrics import Metric, MetricCollection

from lit_course.modules import LinearRegressor, MLPClassifier
from lit_course.optimizers import (
    OPTIMIZERS,
)
from lit_course.schedules import (
    SCHEDULES,
)

LR = 0.1
PLATEAU = "ReduceLROnPlateau"


# ------------------------------------------------------------------------------- optimizers

GOOD_RATE = {"Adadelta": 1.0, "ASGD": 0.05, "LBFGS": 0.1, "Rprop": 1e-3, "SGD": 0.05}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name, make_trainer, loader, blobs):
    torch.manual_seed(0)  # from some start weights, L-BFGS without a line search leaps away
    model = MLPClassifier(4, 3, [8], optimizer=name, lr=GOOD_RATE.get(name, 0.01))
    before = {key: value.clone() for key, value in model.network.named_parameters()}
    # LBFGS and Rprop are for the whole split at once.
    data = loader(*blobs, 101 if name in ("LBFGS", "Rprop") else 16)
    (start,) = make_trainer().validate(model, data, verbose=False)
    trainer = make_trainer(max_epochs=5)
    trainer.fit(model, data, data)
    assert trainer.callback_metrics["val/loss"] < start["val/loss"]
    after = dict(model.network.named_parameters())
    assert all(not torch.equal(before[key], after[key]) for key in before)


def test_options_reach_the_optimizer_of_the_trainer(make_trainer, loader, line):
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    model = LinearRegressor(3, optimizer="SGD", lr=LR, optimizer_options=options)
    trainer = make_trainer()
    trainer.fit(model, loader(*line))
    assert options.items() <= trainer.optimizers[0].param_groups[0].items()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"optimizer": "Muon"}, ValueError, "'Muon' is not taken: it takes matrices only"),
        ({"optimizer": "Addam"}, ValueError, "did you mean 'Adam'?\nknown: ASGD"),
        ({"optimizer": torch.optim.Adam}, TypeError, "optimizer must be given by name"),
        ({"optimizer_options": {"lr": 1}}, ValueError, "'lr' is no option of Adam: give it as lr"),
        ({"lr": -1.0}, ValueError, "Invalid learning rate"),
        ({"lr_scheduler": "CossineAnnealingLR"}, ValueError, "did you mean 'CosineAnnealingLR'?"),
        (
            {"lr_scheduler": "CosineAnnealingLR", "lr_scheduler_options": {"T_MAX": 10}},
            ValueError,
            "did you mean 'T_max'?",
        ),
        (
            {"lr_scheduler": PLATEAU, "lr_scheduler_options": {"cool_down": 2}},
            ValueError,
            "did you mean 'cooldown'?",
        ),
        ({"lr_scheduler_options": {"gamma": 0.1}}, ValueError, "no lr_scheduler: name one"),
        ({"lr_interval": "batch"}, ValueError, "must be 'epoch' or 'step', found 'batch'"),
        ({"lr_frequency": 0}, ValueError, "lr_frequency must be at least 1, found 0"),
        ({"warmup_steps": -1}, ValueError, "warmup_steps must be at least 0, found -1"),
        (
            {"lr_scheduler": "OneCycleLR", "warmup_steps": 5},
            ValueError,
            "OneCycleLR has its own warm-up",
        ),
        (
            {"lr_scheduler": PLATEAU, "lr_interval": "step"},
            ValueError,
            "ReduceLROnPlateau counts validations",
        ),
        (
            {"optimizer": "Adagrad", "lr_scheduler": "OneCycleLR"},
            ValueError,
            "OneCycleLR refuses its options: optimizer must support momentum",
        ),
        ({"monitor": "test/loss"}, ValueError, "must be 'val/...' or 'train/...'"),
        ({"monitor": "val/rsme"}, ValueError, "no metric 'rsme' to monitor; did you mean 'rmse'?"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)) as caught:
        LinearRegressor(3, **arguments)
    assert len(str(caught.value).splitlines()) <= 5


# -------------------------------------------------------------------------------- schedules


def cosine(s, t_max, low=0.0):
    return low + (LR - low) * (1 + math.cos(math.pi * s / t_max)) / 2


def one_cycle(s, horizon):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=LR, momentum=0.9)
    schedule = OneCycleLR(optimizer, LR, horizon)
    for _ in range(s):
        optimizer.step()
        schedule.step()
    return optimizer.param_groups[0]["lr"]


# name, options, rate after s of the T steps of the whole training
FORMULAS = [
    ("StepLR", {"step_size": 2, "gamma": 0.5}, lambda s, T: LR * 0.5 ** (s // 2)),
    ("MultiStepLR", {"milestones": [1, 4]}, lambda s, T: LR * 0.1 ** ((s >= 1) + (s >= 4))),
    (
        "LinearLR",
        {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 4},
        lambda s, T: LR * (0.25 + 0.5 * min(s, 4) / 4),
    ),
    ("ConstantLR", {"factor": 0.5, "total_iters": 2}, lambda s, T: LR * (0.5 if s < 2 else 1)),
    ("ExponentialLR", {"gamma": 0.9}, lambda s, T: LR * 0.9**s),
    ("LinearDecay", {}, lambda s, T: LR * (1 - s / T)),
    ("LinearDecay", {"total_iters": 2}, lambda s, T: LR * max(0, 1 - s / 2)),
    ("PolynomialLR", {"power": 2.0}, lambda s, T: LR * (1 - s / T) ** 2),
    ("CosineAnnealingLR", {"eta_min": 0.01}, lambda s, T: cosine(s, T, 0.01)),
    ("CosineAnnealingLR", {"T_max": 3}, lambda s, T: cosine(s, 3)),
    (
        "CosineAnnealingWarmRestarts",
        {"T_0": 2, "T_mult": 2},
        # Cycles of 2, 4, 8, 16 steps.
        lambda s, T: next(
            cosine(s - start, 2 * 2**k)
            for k, start in [(3, 14), (2, 6), (1, 2), (0, 0)]
            if s >= start
        ),
    ),
    (
        "CyclicLR",
        {"base_lr": 0.02, "max_lr": 0.1, "step_size_up": 2},
        lambda s, T: 0.02 + 0.08 * (1 - abs(s % 4 - 2) / 2),
    ),
    ("OneCycleLR", {}, one_cycle),
]


def classifier(name, options, **arguments):
    return MLPClassifier(
        4,
        3,
        [],
        optimizer="SGD",
        optimizer_options={"momentum": 0.9},
        lr=LR,
        lr_scheduler=name,
        lr_scheduler_options=options,
        **arguments,
    )


def test_every_schedule_has_a_formula():
    assert {name for name, _, _ in FORMULAS} == set(SCHEDULES) - {PLATEAU}


ONE_CYCLE_IN_EPOCHS = pytest.mark.filterwarnings(
    "ignore:A `OneCycleLR` scheduler is using 'interval'"  # it is what is asked for here
)


@ONE_CYCLE_IN_EPOCHS
@pytest.mark.parametrize(("name", "options", "formula"), FORMULAS)
@pytest.mark.parametrize(
    ("interval", "frequency", "accumulate"),
    [
        pytest.param("step", 1, 1, marks=pytest.mark.slow),
        pytest.param("step", 1, 2, marks=pytest.mark.slow),
        ("step", 2, 2),
        pytest.param("epoch", 1, 2, marks=pytest.mark.slow),
        ("epoch", 2, 1),
    ],
)
def test_rates_equal_the_formula(
    name, options, formula, interval, frequency, accumulate, make_trainer, loader, blobs,
    record_rates,
):  # fmt: skip
    """Six epochs of three batches: 18 updates, 12 if two batches are accumulated."""
    model = classifier(name, options, lr_interval=interval, lr_frequency=frequency)
    trainer = make_trainer(
        max_epochs=6, accumulate_grad_batches=accumulate, callbacks=[record_rates]
    )
    trainer.fit(model, loader(*blobs, 40))
    per_epoch = 3 if accumulate == 1 else 2
    updates = 6 * per_epoch
    events = [t if interval == "step" else t // per_epoch for t in range(updates)]
    horizon = math.ceil((updates if interval == "step" else 6) / frequency)
    expected = [formula(event // frequency, horizon) for event in events]
    assert record_rates.rates == pytest.approx(expected, abs=1e-12)


class Endless(IterableDataset):
    """Batches without an end or a length."""

    def __iter__(self):
        while True:
            yield torch.zeros(4), torch.tensor(0)


@pytest.mark.parametrize(
    ("flags", "interval", "horizon"),
    [
        ({"max_steps": 7, "max_epochs": 6}, "step", 7),
        ({"max_steps": 7}, "step", 7),
        ({"max_steps": 7}, "epoch", 3),
        ({"limit_train_batches": 2, "max_epochs": 3}, "step", 6),
        ({"limit_train_batches": 2, "max_epochs": 3}, "epoch", 3),
        ({"fast_dev_run": 2}, "step", 2),
    ],
)
def test_the_horizon_follows_the_trainers_flags(
    flags, interval, horizon, make_trainer, loader, blobs, record_rates
):
    model = classifier("LinearDecay", {}, lr_interval=interval)
    flags = {"max_epochs": None, **flags, "callbacks": [record_rates]}
    make_trainer(**flags).fit(model, loader(*blobs, 40))
    per_epoch = flags.get("limit_train_batches", 3)
    steps = [t if interval == "step" else t // per_epoch for t in range(len(record_rates.rates))]
    assert record_rates.rates == pytest.approx([LR * (1 - s / horizon) for s in steps])
    assert steps[-1] == horizon - 1


def test_a_loader_without_a_length_has_a_horizon_in_steps(make_trainer, record_rates):
    model = classifier("LinearDecay", {}, lr_interval="step", standardize=False)
    trainer = make_trainer(max_epochs=None, max_steps=4, callbacks=[record_rates])
    trainer.fit(model, DataLoader(Endless(), 8))
    assert record_rates.rates == pytest.approx([LR * (1 - t / 4) for t in range(4)])


@pytest.mark.parametrize("name", ["CosineAnnealingLR", "LinearDecay", "PolynomialLR", "OneCycleLR"])
def test_a_training_without_an_end_is_refused(name, make_trainer, loader, blobs):
    trainer = make_trainer(max_epochs=-1)
    with pytest.raises(ValueError, match="set max_epochs or max_steps, or give the schedule's"):
        trainer.fit(classifier(name, {}), loader(*blobs))


def test_a_loader_without_a_length_has_no_horizon_in_epochs(make_trainer):
    model = classifier("LinearDecay", {}, standardize=False)
    with pytest.raises(ValueError, match="does not say how many batches an epoch has"):
        make_trainer(max_epochs=None, max_steps=4).fit(model, DataLoader(Endless(), 8))
    with pytest.raises(ValueError, match="set max_epochs or max_steps"):
        make_trainer(max_epochs=2).fit(model, DataLoader(Endless(), 8))


# ---------------------------------------------------------------------------------- warm-up


@pytest.mark.parametrize(
    ("name", "options", "interval", "after"),
    [
        (None, {}, "epoch", [1, 1, 1, 1, 1, 1, 1, 1]),
        ("ExponentialLR", {"gamma": 0.5}, "step", [1, 0.5, 0.25, *(0.5**k for k in range(3, 8))]),
        # The fifth and sixth update belong to the second epoch, which the warm-up ends in.
        ("ExponentialLR", {"gamma": 0.5}, "epoch", [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
        ("LinearDecay", {}, "step", [1 - k / 8 for k in range(8)]),
        ("LinearDecay", {}, "epoch", [1, 1, *[2 / 3] * 3, *[1 / 3] * 3]),
    ],
)
def test_warm_up_then_schedule(
    name, options, interval, after, make_trainer, loader, blobs, record_rates
):
    """Four updates of warm-up in four epochs of three updates."""
    model = classifier(name, options, lr_interval=interval, warmup_steps=4)
    make_trainer(max_epochs=4, callbacks=[record_rates]).fit(model, loader(*blobs, 40))
    expected = [LR * share for share in (0.25, 0.5, 0.75, 1.0, *after)]
    assert record_rates.rates == pytest.approx(expected)


# ---------------------------------------------------------------------------------- plateau

SCRIPT = [1.0, 0.9, 0.9, 0.9, 0.95, 0.5, 0.46, 0.45999, 0.6, 0.6, 0.6, 0.6, 0.6, 0.3, 0.4, 0.4]


class Scripted(Metric):
    """Reports one number after the other, whatever it sees."""

    full_state_update = False
    higher_is_better = False

    def __init__(self, script):
        super().__init__()
        self.script = script
        self.position = 0

    def update(self, preds, target):
        """Nothing to see."""

    def compute(self):
        self.position += 1
        return torch.tensor(self.script[self.position - 1])


class ScriptedUp(Scripted):
    """The same, better higher."""

    higher_is_better = True


def scripted(script, up=False, monitor="val/score", **arguments):
    """A model whose reported ``score`` follows the script, on data without a gradient."""

    class ScriptedRegressor(LinearRegressor):
        def configure_metrics(self):
            return MetricCollection({"score": (ScriptedUp if up else Scripted)(script)})

    return ScriptedRegressor(
        1, standardize=False, optimizer="SGD", lr=1.0, monitor=monitor,
        lr_scheduler=PLATEAU, **arguments,
    )  # fmt: skip


def nothing(loader):
    return loader(torch.zeros(4, 1), torch.zeros(4, 1), 1)


def torchs_rates(script, **options):
    """The rate before each value of the script is told to torch's own scheduler."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = ReduceLROnPlateau(optimizer, **options)
    rates = []
    for value in script:
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step(value)
    return rates


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"patience": 0},
        {"patience": 2},
        {"patience": 1, "factor": 0.5},
        {"patience": 0, "threshold": 0.2},
        {"patience": 1, "threshold": 0.2, "threshold_mode": "rel"},
        {"patience": 0, "threshold": 0.05, "threshold_mode": "abs"},
        {"patience": 0, "cooldown": 3},
        {"patience": 1, "cooldown": 1, "factor": 0.5},
        {"patience": 0, "factor": 0.5, "min_lr": 0.2},
        {"patience": 0, "factor": 0.5, "eps": 0.2},
    ],
    ids=str,
)
def test_plateau_rates_equal_torchs(options, up, make_trainer, loader, record_rates):
    script = [2 - value for value in SCRIPT] if up else SCRIPT
    expected = torchs_rates(script, mode="max" if up else "min", **options)
    assert len(set(expected)) > 1
    model = scripted(script, up, lr_scheduler_options=options)
    data = nothing(loader)
    make_trainer(max_epochs=len(script), callbacks=[record_rates]).fit(model, data, data)
    assert record_rates.rates[::4] == expected


def test_each_plateau_option_makes_a_difference_above():
    """The script tells the options apart, so that one that is ignored would be seen."""
    base = {"patience": 0, "factor": 0.5}
    others = [
        {"patience": 1},
        {"factor": 0.1},
        {"threshold": 0.2},
        {"threshold": 0.05, "threshold_mode": "abs"},
        {"cooldown": 3},
        {"min_lr": 0.2},
        {"eps": 0.2},
    ]
    seen = [tuple(torchs_rates(SCRIPT, **{**base, **other})) for other in [{}, *others]]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("flags", "validations", "frequency"),
    [
        ({}, [4, 8, 12, 16, 20, 24], 1),
        ({"check_val_every_n_epoch": 2}, [8, 16, 24], 1),
        ({"val_check_interval": 0.5}, list(range(2, 25, 2)), 1),
        ({"val_check_interval": 3, "check_val_every_n_epoch": None}, list(range(3, 25, 3)), 1),
        ({}, [8, 16, 24], 2),
        ({"num_sanity_val_steps": 0}, [4, 8, 12, 16, 20, 24], 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("warmup", [0, 5])
def test_the_plateau_counts_validations(
    flags, validations, frequency, warmup, make_trainer, loader, record_rates
):
    """Nothing ever gets better: without patience the rate halves at each but the first."""
    model = scripted(
        [1.0] * 30,
        lr_scheduler_options={"patience": 0, "factor": 0.5},
        lr_frequency=frequency,
        warmup_steps=warmup,
    )
    data = nothing(loader)
    make_trainer(max_epochs=6, callbacks=[record_rates], **flags).fit(model, data, data)
    counted = [v for v in validations if v > warmup]
    if warmup and frequency == 2:
        counted = [12, 20]  # every second one of those that are counted
    expected = [
        (t + 1) / warmup if t < warmup else 0.5 ** max(0, sum(v <= t for v in counted) - 1)
        for t in range(24)
    ]
    assert record_rates.rates == pytest.approx(expected)


class NoValidation(LightningDataModule):
    """Somebody's data module, which says that it has no validation data in its own way."""

    def __init__(self, train, val):
        super().__init__()
        self.train, self.val = train, val

    def train_dataloader(self):
        return self.train

    def val_dataloader(self):
        return self.val


@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")
@pytest.mark.parametrize("how", ["no loader", "limit_val_batches", "empty list", "train/score"])
def test_without_validation_data_the_training_value_counts(how, make_trainer, loader, record_rates):
    data = nothing(loader)
    expected = torchs_rates(SCRIPT, patience=0)
    model = scripted(
        SCRIPT,
        monitor="train/score" if how == "train/score" else "val/score",
        lr_scheduler_options={"patience": 0},
    )
    trainer = make_trainer(
        max_epochs=len(SCRIPT),
        callbacks=[record_rates],
        **({"limit_val_batches": 0} if how == "limit_val_batches" else {}),
    )
    if how == "empty list":
        trainer.fit(model, datamodule=NoValidation(data, []))
    else:
        trainer.fit(model, data, None if how == "no loader" else data)
    assert record_rates.rates[::4] == expected
    assert model.monitored == "train/score"


def test_what_is_monitored_and_which_way():
    assert MLPClassifier(4, 3).monitored == "val/loss"
    assert MLPClassifier(4, 3).monitor_mode == "min"
    up = MLPClassifier(4, 3, monitor="val/accuracy")
    assert (up.monitored, up.monitor_mode) == ("val/accuracy", "max")
    assert LinearRegressor(4, monitor="train/r2").monitor_mode == "max"


@pytest.mark.parametrize(
    ("monitor", "mode", "better"),
    [("val/accuracy", "min", "higher"), (None, "max", "lower")],
)
def test_a_mode_against_the_monitor_is_refused(monitor, mode, better):
    arguments = {"lr_scheduler": PLATEAU, "lr_scheduler_options": {"mode": mode}}
    with pytest.raises(ValueError, match=f"which is better {better}: leave mode out"):
        MLPClassifier(4, 3, monitor=monitor, **arguments)
    right = {"min": "max", "max": "min"}[mode]
    arguments["lr_scheduler_options"] = {"mode": right}
    MLPClassifier(4, 3, monitor=monitor, **arguments)


# ------------------------------------------------------------------- checkpoint and resume


@pytest.mark.parametrize("at_train_end", [True, False])
def test_the_checkpoint_of_an_epoch_holds_its_reduction(
    at_train_end, make_trainer, loader, tmp_path, record_rates
):
    checkpoint = ModelCheckpoint(
        tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=at_train_end
    )
    model = scripted([1.0] * 9, lr_scheduler_options={"patience": 0, "factor": 0.5})
    data = nothing(loader)
    trainer = make_trainer(
        max_epochs=4, enable_checkpointing=True, callbacks=[checkpoint, record_rates]
    )
    trainer.fit(model, data, data)
    for epoch, rate in enumerate([1.0, 0.5, 0.25, 0.125]):
        file = torch.load(tmp_path / f"epoch={epoch}.ckpt", weights_only=True)
        assert file["optimizer_states"][0]["param_groups"][0]["lr"] == rate


RESUMED = [
    *(
        {"lr_scheduler": name, "lr_scheduler_options": options, "lr_interval": interval}
        for name, options, _ in FORMULAS
        for interval in ("epoch", "step")
    ),
    {},
    {"lr_scheduler": PLATEAU, "lr_scheduler_options": {"patience": 0, "factor": 0.7}},
    {
        "lr_scheduler": PLATEAU,
        "lr_scheduler_options": {"patience": 0, "factor": 0.7},
        "warmup_steps": 7,
    },
    {"warmup_steps": 7},
    {"warmup_steps": 15},
    {"lr_scheduler": "StepLR", "lr_scheduler_options": {"step_size": 1}, "warmup_steps": 4},
    {"lr_scheduler": "StepLR", "lr_scheduler_options": {"step_size": 1}, "lr_frequency": 2},
    {"lr_scheduler": "CosineAnnealingLR", "lr_interval": "step", "warmup_steps": 4},
]


@ONE_CYCLE_IN_EPOCHS
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.slow  # test_resume.py has one of each kind in the quick part
@pytest.mark.parametrize(
    ("at_train_end", "arguments"),
    [
        (at_train_end, arguments)
        for arguments in RESUMED
        # Those that Lightning steps need not be tried at every moment.
        for at_train_end in (
            [True, False] if arguments in RESUMED[-8:] else [arguments["lr_interval"] == "step"]
        )
    ],
    ids=str,
)
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(
    arguments, at_train_end, make_trainer, loader, line, tmp_path, record_rates
):
    data = loader(*line, 40)

    def fit(resume=None):
        record_rates.rates.clear()
        torch.manual_seed(0)
        model = LinearRegressor(
            3, optimizer="SGD", optimizer_options={"momentum": 0.9}, lr=LR, **arguments
        )
        checkpoint = ModelCheckpoint(
            tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=at_train_end
        )
        trainer = make_trainer(
            max_epochs=6, enable_checkpointing=True, callbacks=[record_rates, checkpoint]
        )
        trainer.fit(model, data, data, ckpt_path=resume)
        return list(record_rates.rates), model.state_dict()

    rates, weights = fit()
    rates_after, weights_after = fit(tmp_path / "epoch=2.ckpt")
    assert rates_after == rates[9:]
    assert all(torch.equal(weights[key], weights_after[key]) for key in weights)
