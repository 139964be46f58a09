"""A real TensorBoard over real runs: what each tab is given, and what it looks like."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.tensorboard import browser, screenshot, serve
from lit_course.cli import main

pytestmark = pytest.mark.command

RUN = "MLPClassifier/version_0"
STATUSES = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
TABS = ("timeseries", "custom_scalars", "images", "histograms", "text", "hparams")


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


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(browser() is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("tab", TABS)
def test_every_tab_is_drawn(server, tmp_path, tab):
    picture = tmp_path / f"{tab}.png"
    screenshot(f"{server.url}?darkMode=false#{tab}", picture)
    with Image.open(picture) as image:
        assert image.size == (1200, 750)
        below_the_bar = np.asarray(image.convert("L"))[100:]
    assert below_the_bar.std() > 5  # an empty tab is one colour
