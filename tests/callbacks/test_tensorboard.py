"""What TensorBoard gets beside curves, read back from the files of events."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from lit_course import DigitsDataModule, MLPClassifier
from lit_course.callbacks import EpochAxis, GradientNorm, Histograms, TensorBoardTabs

pytestmark = pytest.mark.command


def events(folder: Path) -> EventAccumulator:
    everything = {"scalars": 0, "tensors": 0, "histograms": 0}
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def text(folder: Path, tag: str) -> str:
    (event,) = events(folder).Tensors(f"{tag}/text_summary")
    return event.tensor_proto.string_val[0].decode()


def session(folder: Path) -> dict:
    content = events(folder).SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    return {
        name: v.number_value if v.HasField("number_value") else v.string_value
        for name, v in settings.items()
    }


def points(folder: Path, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in events(folder).Scalars(tag)}


class Line(LightningModule):
    """Somebody else's module."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.line = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        loss = mse_loss(self.line(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", mse_loss(self.line(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


def train(module, folder: Path, callbacks, data=None, logger=None, **flags) -> Trainer:
    torch.manual_seed(0)
    x = torch.randn(20, 1)
    loader = DataLoader(TensorDataset(x, 2 * x + 1), batch_size=5)
    loaders = (
        {"datamodule": data} if data else {"train_dataloaders": loader, "val_dataloaders": loader}
    )
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=TensorBoardLogger(str(folder), name="", version="run") if logger is None else logger,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 3, "log_every_n_steps": 2, "enable_checkpointing": False} | flags,
    )
    trainer.fit(module, **loaders)
    return trainer


# ------------------------------------------------------------------- from the command line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from lit_course.cli import main

    folder = tmp_path_factory.mktemp("runs")
    command = (
        "fit --model MLPClassifier --model.hidden_features [16] --model.lr 0.01 --data "
        "DigitsDataModule --trainer.max_epochs 3 --trainer.log_every_n_steps 5 --test_best true "
        f"--runs {folder} --trainer.callbacks+=EpochAxis --trainer.callbacks+=Histograms"
    )
    assert main(command.split()) == 0
    return folder / "MLPClassifier" / "version_0"


def test_settings_with_the_best_and_the_test_numbers_are_a_run_of_their_own(run, reported):
    settings = session(run / "best")
    assert settings["lr"] == 0.01
    assert settings["hidden_features"] == "[16]"
    assert settings["batch_size"] == 64
    assert (settings["module"], settings["data"]) == ("MLPClassifier", "DigitsDataModule")
    assert not any(name.startswith(("schema", "feature_names")) for name in settings)
    best = {**reported(run, "fit"), **reported(run, "test")}
    tags = events(run / "best").Tags()["scalars"]
    assert {"val/loss", "val/accuracy", "train/loss", "test/accuracy"} <= set(tags)
    assert all(name.count("/") == 1 for name in tags)
    for name in tags:
        (value,) = points(run / "best", name).values()
        assert value == pytest.approx(best[name], rel=1e-6)


def test_the_best_is_a_point_on_the_curve(run):
    curve = points(run, "val/loss")
    ((step, value),) = points(run / "best", "val/loss").items()
    assert curve[step] == pytest.approx(value, rel=1e-6)
    assert value == min(curve.values())


def test_texts_say_what_was_run(run):
    assert "max_epochs: 3" in text(run, "config")
    assert "1,257 train" in text(run, "run")
    assert "| updates | 20 per epoch, 60 in all" in text(run, "run")
    assert "| network.linear1 | Linear | 1,040 | 1,040 |" in text(run, "model")


def test_the_tests_numbers_are_a_table_by_class(run, reported):
    table = text(run, "test")
    numbers = reported(run, "test")
    assert f"| test/accuracy | {numbers['test/accuracy']:.4f} |" in table
    row = next(line for line in table.splitlines() if line.startswith("| 7 |"))
    assert f"{numbers['test/recall/7']:.4f}" in row


def test_train_and_validation_lie_in_one_chart(run):
    (event,) = events(run).Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    charts = {c.title: list(c.multiline.tag) for part in layout.category for c in part.chart}
    assert charts["loss"] == ["train/loss$", "val/loss$"]
    assert charts["accuracy"] == ["train/accuracy$", "val/accuracy$"]
    assert charts["gradient norm"] == ["train/gradient_norm$"]


def test_epochs_are_an_axis_on_request(run):
    by_update, by_epoch = points(run, "val/loss"), points(run, "epochs/val/loss")
    assert list(by_epoch) == [1, 2, 3]
    assert list(by_epoch.values()) == list(by_update.values())


def test_weights_and_gradients_are_histograms_on_request(run):
    tags = events(run).Tags()["histograms"]
    assert {"weights/network.linear1.weight", "gradients/network.linear1.weight"} <= set(tags)
    histograms = events(run).Histograms("gradients/network.linear1.weight")
    assert [event.step for event in histograms] == [19, 39, 59]
    assert histograms[0].histogram_value.num == 64 * 16


# ------------------------------------------------------------------- in any program


def test_the_gradient_norm_is_that_of_the_batch_before_it_is_clipped(tmp_path):
    torch.manual_seed(0)
    module = Line()
    weight, bias = module.line.weight.item(), module.line.bias.item()
    train(
        module, tmp_path, [GradientNorm()], max_steps=1, log_every_n_steps=1, gradient_clip_val=1e-3
    )
    torch.manual_seed(0)
    x = torch.randn(20, 1)[:5]
    error = weight * x + bias - (2 * x + 1)
    expected = torch.stack([(2 * error * x).mean(), (2 * error).mean()]).norm()
    assert points(tmp_path / "run", "train/gradient_norm") == {0: pytest.approx(float(expected))}


def test_the_lean_loop_and_lightnings_log_the_same_norms(tmp_path):
    norms = {}
    for lean in (True, False):
        torch.manual_seed(0)
        module = MLPClassifier(hidden_features=[8])
        module.lean_loop = lean
        folder = tmp_path / str(lean)
        train(module, folder, [GradientNorm()], data=DigitsDataModule(), max_epochs=1)
        norms[lean] = points(folder / "run", "train/gradient_norm")
    assert norms[True] == norms[False]
    assert list(norms[True]) == list(range(1, 20, 2))


def test_somebody_elses_module_has_its_tabs(tmp_path):
    train(Line(lr=0.05), tmp_path, [TensorBoardTabs()])
    run = tmp_path / "run"
    assert session(run / "best")["lr"] == 0.05
    assert points(run / "best", "val/loss").keys() == {11}
    assert "line" in text(run, "model")
    (event,) = events(run).Tensors("custom_scalars__config__")
    assert b"val/loss" in event.tensor_proto.string_val[0]


@pytest.mark.parametrize("logger", [False, "csv"])
def test_without_tensorboard_nothing_is_lost(tmp_path, logger):
    callbacks = [TensorBoardTabs(), GradientNorm(), EpochAxis(), Histograms()]
    chosen = CSVLogger(str(tmp_path)) if logger else False
    trainer = train(Line(), tmp_path, callbacks, logger=chosen)
    assert trainer.current_epoch == 3
    assert not list(tmp_path.rglob("events.out*"))


def test_a_run_that_fails_shows_what_it_had_reached(tmp_path):
    class Fails(Line):
        def on_train_epoch_start(self):
            if self.current_epoch == 2:
                raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        train(Fails(), tmp_path, [TensorBoardTabs()])
    best = tmp_path / "run" / "best"
    assert session(best)["lr"] == 0.1
    assert len(points(best, "val/loss")) == 1
    found = events(best).SummaryMetadata
    with pytest.raises(KeyError):
        found(metadata.SESSION_END_INFO_TAG)


def test_a_run_that_is_resumed_has_one_best(fit, lit):
    run = fit(epochs=1)
    assert lit("fit", "--ckpt_path", run, "--trainer.max_epochs", 3).status == 0
    (value,) = points(run / "best", "val/loss").values()
    assert value == min(points(run, "val/loss").values())


def test_a_foreign_checkpoint_callback_changes_nothing(tmp_path):
    flags = {"enable_checkpointing": True}
    train(Line(), tmp_path, [TensorBoardTabs(), ModelCheckpoint(monitor="val/loss")], **flags)
    assert len(points(tmp_path / "run" / "best", "val/loss")) == 1


def test_histograms_of_no_epoch_are_refused():
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, found 0"):
        Histograms(every_n_epochs=0)


def test_an_epoch_without_validation_repeats_nothing(tmp_path):
    train(Line(), tmp_path, [EpochAxis()], max_epochs=4, check_val_every_n_epoch=2)
    assert list(points(tmp_path / "run", "epochs/val/loss")) == [2, 4]
    assert list(points(tmp_path / "run", "epochs/train/loss")) == [1, 2, 3, 4]


def test_a_callback_serves_a_second_run(tmp_path):
    callbacks = [GradientNorm(), TensorBoardTabs(), Histograms()]
    for name in ("first", "second"):
        train(Line(), tmp_path / name, callbacks)
        found = events(tmp_path / name / "run").Tags()
        assert "train/gradient_norm" in found["scalars"]
        assert "weights/line.weight" in found["histograms"]
        assert "custom_scalars__config__" in found["tensors"]


def test_lazy_layers_are_not_counted(tmp_path):
    class Lazy(Line):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.LazyLinear(1)

    train(Lazy(), tmp_path, [TensorBoardTabs()], limit_val_batches=0)
    assert "LazyLinear" not in text(tmp_path / "run", "model")


@pytest.mark.parametrize("callback", ["EpochAxis", "Histograms"])
def test_a_run_with_what_was_requested_is_evaluated_by_its_folder_alone(fit, lit, callback):
    run = fit(f"--trainer.callbacks+={callback}", epochs=1)
    assert lit("validate", "--ckpt_path", run).status == 0
