"""The classifier: every value against scikit-learn, every loss through fit, what it refuses."""

import re

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torch.nn.functional as F

from lit_course.losses import CLASSIFICATION_LOSSES
from lit_course.modules import MLPClassifier
from lit_course.networks import ACTIVATIONS, INITIALIZATIONS

LOSSES = {
    "cross_entropy": {},
    "smoothed": {"loss": "cross_entropy", "label_smoothing": 0.1},
    "weighted": {"class_weights": [0.5, 2.0, 1.0, 0.1, 3.0]},
    "weighted and smoothed": {"class_weights": [0.5, 2.0, 1.0, 0.1, 3.0], "label_smoothing": 0.1},
    "nll": {"loss": "nll"},
    "focal": {"loss": "focal", "loss_options": {"gamma": 1.5}},
    "focal alpha": {"loss": "focal", "loss_options": {"alpha": [0.5, 2.0, 1.0, 0.1, 3.0]}},
}


@pytest.fixture
def five():
    """101 samples and a linear model of five classes: 1 is never true, 3 neither true nor said."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(101, 4, generator=generator)
    y = torch.tensor([0, 2, 4])[torch.randint(0, 3, (101,), generator=generator)]

    def make(**arguments):
        torch.manual_seed(1)
        model = MLPClassifier(4, 5, [], standardize=False, **arguments)
        with torch.no_grad():
            model.network.output.bias[3] = -100
        return model

    return x, y, make


@pytest.mark.parametrize("kind", LOSSES)
def test_the_whole_split_is_reported_whatever_the_batches(kind, five, make_trainer, loader):
    x, y, make = five
    model = make(**LOSSES[kind])
    outputs = model(x).detach()
    predicted, p = outputs.argmax(1), outputs.softmax(1)
    assert 1 in predicted
    assert 3 not in predicted
    macro = {"average": "macro", "zero_division": 0}
    expected = {
        "loss": float(model.loss.double()(outputs.double(), y)),
        "accuracy": sk.accuracy_score(y, predicted),
        "f1": sk.f1_score(y, predicted, **macro),
        "precision": sk.precision_score(y, predicted, **macro),
        "recall": sk.recall_score(y, predicted, **macro),
        "auroc": np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in (0, 2, 4)]),
    }
    each = sk.precision_recall_fscore_support(y, predicted, labels=range(5), zero_division=0)
    for key, values in zip(("precision", "recall", "f1"), each, strict=False):
        expected |= {f"{key}/{c}": value for c, value in enumerate(values)}
    model.float()
    for batch_size in (1, 7, 32, 101):
        for stage, verb in (("val", "validate"), ("test", "test")):
            with pytest.warns(UserWarning, match=rf"{stage}/auroc leaves out classes .*: 1, 3$"):
                (values,) = getattr(make_trainer(), verb)(
                    model, loader(x, y, batch_size), verbose=False
                )
            assert values == pytest.approx(
                {f"{stage}/{name}": value for name, value in expected.items()}, rel=1e-6
            )


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"loss": "bce"},
        {"loss": "bce", "label_smoothing": 0.2, "class_weights": [0.5, 2.0]},
        {"loss": "nll"},
        {"loss": "focal", "loss_options": {"alpha": 0.25}},
    ],
    ids=str,
)
def test_two_classes_are_reported_by_the_positive_one(arguments, make_trainer, loader, blobs):
    x, y = blobs[0], blobs[1].clamp_max(1)
    model = MLPClassifier(
        4, 2, [8], standardize=False, schema={"class_names": ["no", "yes"]}, **arguments
    )
    outputs = model(x).detach()
    p = outputs.sigmoid()[:, 0] if outputs.shape[1] == 1 else outputs.softmax(1)[:, 1]
    predicted = (p > 0.5).long()
    each = sk.precision_recall_fscore_support(y, predicted, zero_division=0)
    expected = {
        "test/loss": float(model.loss.double()(outputs.double(), y)),
        "test/accuracy": sk.accuracy_score(y, predicted),
        "test/auroc": sk.roc_auc_score(y, p),
    }
    for key, (no, yes) in zip(("precision", "recall", "f1"), each, strict=False):
        expected |= {f"test/{key}": yes, f"test/{key}/no": no, f"test/{key}/yes": yes}
    model.float()
    for batch_size in (7, 101):
        (values,) = make_trainer().test(model, loader(x, y, batch_size), verbose=False)
        assert values == pytest.approx(expected, rel=1e-6)


def test_of_one_class_only_auroc_is_not_defined_and_says_so(make_trainer, loader, blobs):
    x, y = blobs[0], torch.ones(101, dtype=torch.int64)
    with pytest.warns(UserWarning, match="val/auroc leaves out classes .*: 1$"):
        (values,) = make_trainer().validate(MLPClassifier(4, 2), loader(x, y), verbose=False)
    assert np.isnan(values["val/auroc"])


@pytest.mark.parametrize("loss", CLASSIFICATION_LOSSES)
def test_every_loss_trains(loss, make_trainer, loader, blobs):
    x, y = blobs
    classes = 2 if loss == "bce" else 3
    y = y.clamp_max(classes - 1)
    model = MLPClassifier(4, classes, [16], loss=loss, class_weights="balanced", lr=0.02)
    trainer = make_trainer(max_epochs=15)
    trainer.fit(model, loader(x, y, 16), loader(x, y))
    assert float(trainer.callback_metrics["val/auroc"]) > 0.85


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_every_layer_trains(activation, normalization, make_trainer, loader, blobs):
    model = MLPClassifier(
        4, 3, [8, 8], activation=activation, normalization=normalization, dropout=0.1
    )
    before = {name: p.clone() for name, p in model.named_parameters()}
    make_trainer(max_epochs=2).fit(model, loader(*blobs))
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_an_initialization_starts_with_biases_at_zero(initialization):
    model = MLPClassifier(4, 3, initialization=initialization)
    assert not model.network.linear1.bias.any()


def test_the_courses_fault_is_to_be_seen(make_trainer, loader, blobs):
    """With a ReLU on the logits none is below zero, and a class can die."""
    model = MLPClassifier(4, 3, [8], output_activation="relu")
    make_trainer().fit(model, loader(*blobs))
    assert model(blobs[0]).min() == 0
    assert MLPClassifier(4, 3, [8])(blobs[0]).min() < 0


def test_nll_brings_its_own_log_softmax(blobs):
    outputs = MLPClassifier(4, 3, [8], loss="nll")(blobs[0])
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(101))
    MLPClassifier(4, 3, loss="nll", output_activation="log_softmax")


def test_images_are_taken_raw(make_trainer, loader):
    x = torch.randint(0, 256, (50, 1, 4, 4), dtype=torch.uint8)
    y = torch.arange(50) % 2
    model = MLPClassifier(16, 2, [8])
    make_trainer().fit(model, loader(x, y, 16), loader(x, y))
    floats = (x / 255).flatten(1)
    torch.testing.assert_close(model.network.scaling.mean, floats.mean().expand(16))
    torch.testing.assert_close(model(x), model(x / 255))


@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_predictions_are_class_name_and_probabilities(loss, make_trainer, loader, blobs):
    x, y = blobs
    model = MLPClassifier(4, 2, [8], loss=loss, schema={"class_names": ["cat", "dog"]})
    with torch.no_grad():
        outputs = model(x)
    p = outputs.sigmoid()[:, 0] if loss == "bce" else outputs.softmax(1)[:, 1]
    answers = make_trainer().predict(model, loader(x, y, 40))
    assert [len(a["class"]) for a in answers] == [40, 40, 21]
    classes = torch.cat([a["class"] for a in answers])
    probabilities = torch.cat([a["probabilities"] for a in answers])
    assert torch.equal(classes, (p > 0.5).long())
    names = [name for a in answers for name in a["class_name"]]
    assert names == [["cat", "dog"][c] for c in classes]
    torch.testing.assert_close(probabilities, torch.stack([1 - p, p], 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.bool])
def test_labels_may_be_any_integers(dtype, make_trainer, loader, blobs):
    x, y = blobs[0], blobs[1].clamp_max(1)

    def fit(labels):
        torch.manual_seed(0)
        model = MLPClassifier(4, 2, [4], class_weights="balanced")
        make_trainer().fit(model, loader(x, labels))
        return model.network.output.weight

    assert torch.equal(fit(y.to(dtype)), fit(y))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y + 1, "labels must be in 0..2, found 3: number the classes from 0"),
        (lambda y: y - 1, "labels must be in 0..2, found -1"),
        (lambda y: y.float(), "labels must be integers, found torch.float32: convert them with"),
        (lambda y: y[:, None], "labels must be of shape (32,), found (32, 1)"),
        (lambda y: F.one_hot(y), "labels must be of shape (32,), found (32, 3)"),
    ],
)
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
@pytest.mark.parametrize("standardize", [True, False])
def test_wrong_labels_are_refused(change, message, stage, standardize, make_trainer, loader, blobs):
    x, y = blobs
    model = MLPClassifier(4, 3, [4], standardize=standardize)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        getattr(make_trainer(), stage)(model, loader(x, change(y)))
    assert len(str(caught.value).splitlines()) <= 5


@pytest.mark.parametrize(("loss", "bad"), [("cross_entropy", -100), ("bce", 2), ("bce", -1)])
def test_a_wrong_label_in_a_later_batch_is_found_before_it_is_reported(
    loss, bad, make_trainer, loader, blobs
):
    """Where the loss itself would take it: -100 is torch's 'ignore', bce takes any number."""
    x, y = blobs[0], blobs[1].clamp_max(1)
    y[90] = bad
    model = MLPClassifier(4, 2, [4], loss=loss, standardize=False)
    for verb in ("fit", "validate"):
        with pytest.raises(ValueError, match=rf"labels must be in 0\.\.1, found {bad}"):
            getattr(make_trainer(), verb)(model, loader(x, y))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "cross_entrpy"}, "unknown loss 'cross_entrpy'; did you mean 'cross_entropy'?"),
        ({"loss": "bce"}, "loss 'bce' is for two classes, found num_classes=3"),
        ({"loss_options": {"gama": 1}}, "unknown option of loss 'cross_entropy' 'gama'"),
        ({"loss": "focal", "loss_options": {"gama": 1}}, "did you mean 'gamma'?"),
        ({"loss": "focal", "label_smoothing": 0.1}, "has no label_smoothing; these have"),
        ({"loss": "nll", "output_activation": "relu"}, "contradicts loss 'nll': leave it out"),
        ({"output_activation": "log_softmax"}, "contradicts loss 'cross_entropy': leave it out"),
        ({"output_activation": "softmax"}, "'softmax' contradicts loss 'cross_entropy'"),
        ({"label_smoothing": 1.0}, "label_smoothing is a share in [0, 1), found 1.0"),
        ({"dropout": -0.1}, "dropout is a share in [0, 1), found -0.1"),
        ({"class_weights": "balance"}, "must be a list or 'balanced', found 'balance'"),
        ({"class_weights": [1.0, 2.0]}, "has 2 values for 3 classes: give one a class"),
        ({"class_weights": [1.0, 2.0, -1.0]}, "must not be negative"),
        ({"class_weights": (1.0, 2.0)}, "has 2 values for 3 classes"),
        (
            {"loss": "focal", "loss_options": {"alpha": 0.25}},
            "class_weights (or focal's alpha) has 2 values for 3 classes",
        ),
        (
            {"loss": "focal", "loss_options": {"alpha": [1, 1, 1]}, "class_weights": "balanced"},
            "alpha and class_weights say the same thing; give one",
        ),
        ({"schema": {"class_names": ["a", "b"]}}, "2 class names for 3 classes: give one a class"),
        ({"activation": "relo"}, "unknown activation 'relo'; did you mean 'relu'?"),
        ({"normalization": "bath"}, "did you mean 'batch'?"),
        ({"initialization": "xavier"}, "did you mean 'xavier_"),
        ({"monitor": "val/acc"}, "no metric 'acc' to monitor; did you mean 'accuracy'?"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        MLPClassifier(4, 3, **arguments)
    assert len(str(caught.value).splitlines()) <= 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "cross_entrpy"}, "did you mean 'cross_entropy'?"),
        ({"activation": "relo"}, "did you mean 'relu'?"),
        ({"optimizer": "Addam"}, "did you mean 'Adam'?"),
        ({"class_weights": [-1.0, 2.0]}, "must not be negative"),
        ({"output_activation": "log_softmax"}, "contradicts loss"),
    ],
)
def test_most_of_them_before_the_sizes_are_known(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MLPClassifier(**arguments)
