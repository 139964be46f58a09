"""The decision threshold: given or tuned, in every report, prediction and checkpoint."""

import csv
import json
import re

import numpy as np
import pytest
import sklearn.metrics as sk
import torch

from lit_course import ArrayDataModule
from lit_course.decisions import best_threshold
from lit_course.metrics import classification_metrics
from lit_course.modules import MLPClassifier
from lit_course.modules.decision_threshold import DecisionThreshold

TUNED = {"hidden_features": [4], "threshold": "tune", "lr": 0.02}


@pytest.fixture
def rare():
    """300 samples, of which one in six is of class 1, and the classes overlap."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    y = (torch.arange(300) % 6 == 0).long()
    return y[:, None] * 1.2 + torch.randn(300, 3, generator=generator), y


@pytest.fixture
def data(rare):
    return ArrayDataModule(*rare, val_size=100, test_size=50)


def probabilities(model, x):
    with torch.no_grad():
        return model.eval()(x).softmax(1)[:, 1]


def decided(y, p, threshold):
    """What scikit-learn says of the classes above a threshold."""
    return {
        "accuracy": sk.accuracy_score(y, p > threshold),
        "f1": sk.f1_score(y, p > threshold, zero_division=0),
        "precision": sk.precision_score(y, p > threshold, zero_division=0),
        "recall": sk.recall_score(y, p > threshold),
        "auroc": sk.roc_auc_score(y, p),
    }


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_a_given_threshold_decides_reports_and_predictions(
    threshold, loss, make_trainer, loader, rare
):
    x, y = rare
    names = {"class_names": ["no", "yes"]}
    model = MLPClassifier(
        3, 2, [4], threshold=threshold, loss=loss, schema=names, standardize=False
    )
    outputs = model(x).detach()
    p = outputs.sigmoid()[:, 0] if loss == "bce" else outputs.softmax(1)[:, 1]
    (values,) = make_trainer().test(model, loader(x, y), verbose=False)
    expected = decided(y, p, threshold)
    assert {key: values[f"test/{key}"] for key in expected} == pytest.approx(expected)
    assert values["test/recall/yes"] == pytest.approx(expected["recall"])
    no = sk.recall_score(y, p > threshold, pos_label=0)
    assert values["test/recall/no"] == pytest.approx(no)
    answer = model.predictions(outputs)
    assert answer["class"].equal((p > threshold).long())
    assert answer["class_name"] == [["no", "yes"][c] for c in answer["class"]]
    assert not [name for name in model.state_dict() if "decision" in name]


def test_a_tuned_threshold_is_that_of_the_validation_it_is_reported_with(
    make_trainer, data, tmp_path
):
    model = MLPClassifier(**TUNED)
    trainer = make_trainer(max_epochs=3)
    trainer.fit(model, datamodule=data)
    split = data._splits["val"]
    p = probabilities(model, split.samples.x[split.rows])
    assert model.decision_threshold == pytest.approx(best_threshold(p, split.y), rel=1e-6)
    assert model.decision_threshold != 0.5
    expected = decided(split.y, p, model.decision_threshold)
    reported = {key: float(trainer.callback_metrics[f"val/{key}"]) for key in expected}
    assert reported == pytest.approx(expected)
    assert expected["f1"] > decided(split.y, p, 0.5)["f1"]
    assert float(trainer.callback_metrics["val/threshold"]) == model.decision_threshold

    trainer.save_checkpoint(tmp_path / "tuned.ckpt")
    loaded = MLPClassifier.load_from_checkpoint(tmp_path / "tuned.ckpt")
    assert loaded.decision_threshold == model.decision_threshold
    for evaluated in (model, loaded):
        (values,) = make_trainer().validate(evaluated, datamodule=data, verbose=False)
        assert {key: values[f"val/{key}"] for key in expected} == pytest.approx(expected)
        assert evaluated.decision_threshold == model.decision_threshold


def test_training_is_reported_at_the_threshold_of_its_epoch(make_trainer, rare, monkeypatch):
    """However many pieces the metrics were fed in before the threshold was found."""
    monkeypatch.setattr("lit_course.stage_metrics.ROOM", 40)
    data = ArrayDataModule(*rare, val_size=100, test_size=0, batch_size=16)
    model = MLPClassifier(**TUNED, optimizer="SGD")
    model.lr = 0.0
    trainer = make_trainer(max_epochs=2)
    trainer.fit(model, datamodule=data)
    split = data._splits["train"]
    p = probabilities(model, split.samples.x[split.rows])
    expected = decided(split.y, p, model.decision_threshold)
    reported = {key: float(trainer.callback_metrics[f"train/{key}"]) for key in expected}
    assert reported == pytest.approx(expected, abs=1e-6)


def test_training_itself_knows_no_threshold(make_trainer, rare):
    weights = []
    for threshold in (0.5, 0.3, "tune"):
        torch.manual_seed(0)
        model = MLPClassifier(hidden_features=[4], threshold=threshold)
        make_trainer(max_epochs=2).fit(model, datamodule=ArrayDataModule(*rare))
        weights.append(model.network.output.weight)
    assert weights[0].equal(weights[1])
    assert weights[0].equal(weights[2])


def test_best_and_last_checkpoints_carry_their_own_and_a_resumed_fit_goes_on(lit, tmp_path, rare):
    x, y = (tensor.numpy() for tensor in rare)
    np.savez(tmp_path / "rare.npz", X=x, y=y)
    model = ("--model", "MLPClassifier", "--model.hidden_features", "[4]", "--model.lr", 0.02)
    tune = ("--model.threshold", "tune", "--model.monitor", "val/f1")
    data = ("--data", "ArrayDataModule", "--data.X", tmp_path / "rare.npz", "--data.val_size", 100)
    fit = ("fit", *model, *tune, *data)
    assert lit(*fit, "--name", "whole", "--trainer.max_epochs", 6).status == 0
    assert lit(*fit, "--name", "two", "--trainer.max_epochs", 3).status == 0
    resumed = ("--ckpt_path", tmp_path / "runs/two/version_0", "--trainer.max_epochs", 6)
    assert lit("fit", *resumed).status == 0

    def saved(run, which):
        path = tmp_path / f"runs/{run}/version_0/checkpoints/{which}.ckpt"
        return torch.load(path, weights_only=True)

    for which in ("best", "last"):
        whole, two = saved("whole", which), saved("two", which)
        assert whole["state_dict"]["decision.value"].equal(two["state_dict"]["decision.value"])
        assert whole["lit_course"]["metrics"] == two["lit_course"]["metrics"]
        metrics = whole["lit_course"]["metrics"]
        assert metrics["val/threshold"] == float(whole["state_dict"]["decision.value"])

    run = tmp_path / "runs/whole/version_0"
    assert lit("validate", "--ckpt_path", run).status == 0
    validated = json.loads((run / "validate_metrics.json").read_text())
    best = saved("whole", "best")["lit_course"]["metrics"]
    assert validated["val/f1"] == pytest.approx(best["val/f1"])
    assert lit("predict", "--ckpt_path", run).status == 0
    threshold = best["val/threshold"]
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(int(r["class"]) == (float(r["probability_1"]) > threshold) for r in rows)
    assert any(0.5 >= float(r["probability_1"]) > threshold for r in rows)

    done = lit("test", "--ckpt_path", run, "--model.threshold", 0.4)
    assert (done.status, done.err) == (0, "threshold: 0.4, in the checkpoint tune\n")
    untuned = ("--model.threshold", 0.5, "--name", "half", "--trainer.max_epochs", 1)
    assert lit(*fit, *untuned).status == 0
    half = tmp_path / "runs/half/version_0"
    done = lit("test", "--ckpt_path", half, "--model.threshold", "tune")
    assert done.status == 1
    assert "the checkpoint has no tuned threshold: give a number" in done.err


@pytest.mark.filterwarnings("ignore:.*auroc leaves out")
def test_on_a_split_of_one_class_it_stays_and_says_so(make_trainer, loader, rare):
    x, y = rare
    model = MLPClassifier(3, 2, **TUNED)
    model.decision.value.fill_(0.25)
    for one in (0, 1):
        held_out = loader(x[y == one], y[y == one])
        with pytest.warns(UserWarning, match=r"one class only: the threshold stays at 0\.25"):
            make_trainer().fit(model, loader(x, y), held_out)
        assert model.decision_threshold == 0.25


def test_within_an_epoch_too(make_trainer, data):
    model = MLPClassifier(**TUNED)
    found = []
    tune = model.decision.tune
    model.decision.tune = lambda metrics: found.append(tune(metrics)) or found[-1]
    make_trainer(val_check_interval=1).fit(model, datamodule=data)
    assert found == [True] * 3


def test_a_short_precision_does_not_round_it(make_trainer, data):
    model = MLPClassifier(**TUNED)
    trainer = make_trainer(max_epochs=2, precision="bf16-true")
    trainer.fit(model, datamodule=data)
    split = data._splits["val"]
    answers = trainer.predict(model, data.val_dataloader())
    p = torch.cat([answer["probabilities"][:, 1] for answer in answers])
    assert model.decision.value.dtype == torch.float32
    found, best = (
        sk.f1_score(split.y, p > t) for t in (model.decision_threshold, best_threshold(p, split.y))
    )
    assert found == best


def test_weights_without_one_can_be_tuned_on(make_trainer, data, tmp_path):
    model = MLPClassifier(hidden_features=[4])
    trainer = make_trainer()
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    tuned = MLPClassifier.load_from_checkpoint(tmp_path / "plain.ckpt", threshold="tune")
    assert tuned.decision_threshold == 0.5
    make_trainer().fit(tuned, datamodule=data)
    assert tuned.decision_threshold != 0.5
    given = MLPClassifier.load_from_checkpoint(tmp_path / "plain.ckpt", threshold=0.3)
    assert given.decision_threshold == pytest.approx(0.3)


class WithOtherMetrics(MLPClassifier):
    def configure_metrics(self):
        return classification_metrics(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLPClassifier(3, 3, threshold=0.3), "for two classes, found num_classes=3"),
        (lambda: MLPClassifier(3, 3, threshold="tune"), "for two classes, found num_classes=3"),
        (lambda: MLPClassifier(threshold=1.0), "threshold must be in [0, 1), or 'tune', found 1.0"),
        (lambda: MLPClassifier(threshold=-0.1), "or 'tune', found -0.1"),
        (lambda: MLPClassifier(threshold=float("nan")), "or 'tune', found nan"),
        (lambda: DecisionThreshold("best"), "or 'tune', found 'best'"),
    ],
)
def test_wrong_thresholds_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_what_cannot_be_tuned_is_refused(make_trainer, loader, rare, blobs, data):
    with pytest.raises(ValueError, match="for two classes, found num_classes=3"):
        make_trainer().fit(MLPClassifier(**TUNED), datamodule=ArrayDataModule(*blobs))
    with pytest.raises(ValueError, match="needs a validation split: hold rows out with val_size"):
        make_trainer().fit(MLPClassifier(3, 2, **TUNED), loader(*rare))
    with pytest.raises(ValueError, match=r"WithOtherMetrics makes others: give a number"):
        make_trainer().fit(WithOtherMetrics(**TUNED), datamodule=data)
