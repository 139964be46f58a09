"""A real TensorBoard over real runs: what each tab is given, and what it looks like."""

import io

import numpy as np
import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from benchmarks.tensorboard import browser, screenshot, serve
from lit_course import DigitsDataModule, MLPClassifier
from lit_course.callbacks import TensorBoardTabs
from lit_course.cli import main

pytestmark = pytest.mark.command

RUN = "MLPClassifier/version_0"
STATUSES = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
TABS = ("timeseries", "scalars", "custom_scalars", "images", "histograms", "text", "hparams")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    command = (
        "fit --model MLPClassifier --model.hidden_features [16] --data DigitsDataModule "
        "--trainer.max_epochs 2 --test_best true --trainer.log_every_n_steps 5 "
        f"--runs {folder} --trainer.callbacks+=Histograms"
    )
    for lr in ("0.001", "0.1"):
        assert main([*command.split(), "--model.lr", lr]) == 0
    with serve(folder) as server:
        server.folder = folder
        yield server


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A server over a run with one scalar of no interest."""
    folder = tmp_path_factory.mktemp("empty")
    with SummaryWriter(str(folder / "run")) as writer:
        writer.add_scalar("x", 0.0, 0)
    with serve(folder) as server:
        yield server


def test_every_tab_is_given_its_data(server, reported):
    """One server and one test: to start it takes seconds."""
    reported = {verb: reported(server.folder / RUN, verb) for verb in ("fit", "test")}
    assert {RUN, f"{RUN}/best", "MLPClassifier/version_1"} <= set(server.get("runs"))

    scalars = server.get("plugin/scalars/tags")[RUN]
    assert {"train/loss", "val/loss", "train/gradient_norm", "lr-Adam"} <= set(scalars)
    curve = server.get("plugin/scalars/scalars", run=RUN, tag="val/loss")
    assert [step for _, step, _ in curve] == [19, 39]
    assert min(value for *_, value in curve) == pytest.approx(reported["fit"]["val/loss"])

    layout = server.get("plugin/custom_scalars/layout")
    charts = {chart["title"]: chart for part in layout["category"] for chart in part["chart"]}
    assert charts["loss"]["multiline"]["tag"] == ["train/loss$", "val/loss$"]
    drawn = server.get("plugin/custom_scalars/scalars", run=RUN, tag="train/loss$")
    assert list(drawn["tag_to_events"]) == ["train/loss"]

    texts = server.get("plugin/text/tags")[RUN]
    assert {f"{name}/text_summary" for name in ("config", "run", "model", "test")} <= set(texts)
    (said,) = server.get("plugin/text/text", run=RUN, tag="test/text_summary")
    assert "<table>" in said["text"]
    assert f"{reported['test']['test/accuracy']:.4f}" in said["text"]

    tag = "weights/network.linear1.weight"
    assert len(server.get("plugin/histograms/histograms", run=RUN, tag=tag)) == 2

    metrics = server.post("plugin/hparams/experiment", {"experimentName": ""})["metricInfos"]
    assert "hp_metric" not in {info["name"]["tag"] for info in metrics}
    column = {"metric": {"tag": "val/loss", "group": ""}, "order": "ORDER_ASC"}
    asked = {"allowedStatuses": STATUSES, "startIndex": 0, "sliceSize": 9, "colParams": [column]}
    groups = server.post("plugin/hparams/session_groups", asked)
    found = {}
    for group in groups["sessionGroups"]:
        values = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        found[group["name"]] = (group["hparams"]["lr"], values["val/loss"])
        assert group["sessions"][0]["status"] == "STATUS_SUCCESS"
    lr, loss = found[f"{RUN}/best"]
    assert (lr, loss) == (0.001, pytest.approx(reported["fit"]["val/loss"]))
    losses = [loss for _, loss in found.values()]
    assert losses == sorted(losses)
    assert len(losses) == 2
    assert -1 not in losses

    images = server.get("plugin/images/tags")[RUN]
    assert {"test/confusion_matrix", "test/reliability"} <= set(images)
    where = {"run": RUN, "tag": "test/confusion_matrix"}
    (image,) = server.get("plugin/images/images", sample="0", **where)
    query = dict(pair.split("=") for pair in image["query"].split("&"))
    drawn = server.get("plugin/images/individualImage", **query)
    file = server.folder / RUN / "figures/test_confusion_matrix.png"
    with Image.open(io.BytesIO(drawn)) as picture, Image.open(file) as ours:
        assert np.array_equal(np.asarray(picture.convert("RGB")), np.asarray(ours))


def test_in_a_program_of_ones_own_there_is_no_placeholder(tmp_path):
    """Lightning's logger tells HParams of a metric -1 unless it is told not to."""
    trainer = Trainer(
        max_epochs=1,
        log_every_n_steps=5,
        accelerator="cpu",
        logger=TensorBoardLogger(str(tmp_path)),
        callbacks=[TensorBoardTabs()],
        enable_progress_bar=False,
    )
    trainer.fit(MLPClassifier(hidden_features=[4]), datamodule=DigitsDataModule())
    with serve(tmp_path) as server:
        experiment = server.post("plugin/hparams/experiment", {"experimentName": ""})
    found = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert "val/loss" in found
    assert "hp_metric" not in found


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(browser() is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("tab", TABS)
def test_every_tab_is_drawn(server, empty, tmp_path, tab):
    """Beside the bars there is more than TensorBoard's words on a log without anything."""
    content = {}
    for name, url in (("full", server.url), ("empty", empty.url)):
        picture = tmp_path / f"{name}.png"
        screenshot(f"{url}?darkMode=false#{tab}", picture)
        with Image.open(picture) as image:
            assert image.size == (1200, 750)
            content[name] = np.asarray(image.convert("L"))[130:, 320:900]
    differs = np.abs(content["full"].astype(int) - content["empty"]) > 20
    assert differs.mean() > 0.02
