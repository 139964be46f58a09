"""Asking a trained model: whatever one has in, NumPy in original units and labels out."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_digits

import lit_course
from lit_course import DataFrameDataModule, LinearRegressor, MLPClassifier, MLPRegressor, Ranker
from lit_course.raw_table import RawTable
from lit_course.tables import Table

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def classifier(make_trainer, loader, blobs):
    """A trained one with dropout and batch normalisation, which evaluation must leave alone."""
    schema = {"feature_names": NAMES, "class_names": ["red", "green", "blue"]}
    model = MLPClassifier(4, 3, [16], normalization="batch", dropout=0.5, schema=schema)
    make_trainer(max_epochs=2).fit(model, loader(*blobs))
    model.zero_grad()
    return model


# ---------------------------------------------------------------------------------- what goes in


def forms(x):
    frame = pl.DataFrame(dict(zip(NAMES, x.T, strict=True)))
    mixed = frame.select("c", "a", pl.lit("x").alias("other"), "d", "b")
    wide = np.zeros((2 * len(x), 8), "float32")
    wide[::2, ::2] = x
    return {
        "float32": x,
        "float64": x.astype("float64"),
        "strided": wide[::2, ::2],
        "big endian": x.astype(">f4"),
        "read only": np.frombuffer(x.tobytes(), "float32").reshape(x.shape),
        "lists": x.tolist(),
        "torch": torch.from_numpy(x),
        "with gradients": torch.from_numpy(x).double().requires_grad_(),
        "polars": mixed,
        "lazy": mixed.lazy(),
        "pandas": mixed.to_pandas().set_index(np.arange(len(x)) * 7),
        "pyarrow": mixed.to_arrow(),
    }


def test_every_form_is_answered_alike(classifier, blobs):
    x = blobs[0].numpy()
    expected = classifier.predict_proba(x)
    for form, given in forms(x).items():
        np.testing.assert_array_equal(classifier.predict_proba(given), expected, err_msg=form)


@pytest.fixture
def people():
    """Text, dates, booleans, missing values, columns that are not learned from."""
    return pl.DataFrame(
        {
            "age": [None if i % 9 == 0 else 20 + i % 50 for i in range(200)],
            "city": [("Bonn", "Ulm", None)[i % 3] for i in range(200)],
            "since": [f"2024-0{1 + i % 9}-01" for i in range(200)],
            "member": [i % 4 == 0 for i in range(200)],
            "income": [("low", "high")[(i % 50 + i % 3) // 26] for i in range(200)],
        }
    )


def test_a_table_takes_raw_columns(make_trainer, people):
    new = people.with_columns(pl.lit("Rom").alias("city"), pl.lit(1).alias("shoes")).drop("income")
    data = DataFrameDataModule(people, "income", predict=new, batch_size=16)
    model = MLPClassifier(hidden_features=[8])
    trainer = make_trainer(max_epochs=3)
    trainer.fit(model, datamodule=data)
    parts = trainer.predict(model, datamodule=data)
    expected = torch.cat([part["probabilities"] for part in parts]).numpy()
    for frame in (new, new.to_pandas(), new.to_arrow(), new.reverse().reverse()):
        np.testing.assert_allclose(model.predict_proba(frame), expected, atol=1e-6)
    assert model.predict(new[:0]).shape == (0,)
    with pytest.raises(ValueError, match=r"^no column 'age', 'since'"):
        model.predict(new.drop("age", "since"))
    with pytest.raises(ValueError, match="'age': 'old' in row 2 is not a number"):
        model.predict(new[:3].with_columns(age=pl.Series(["1", "2", "old"])))
    with pytest.raises(ValueError, match=r"takes 8 features for each sample, found 5: give a data"):
        model.predict(np.zeros((2, 5)))


@pytest.mark.parametrize("code", [-1.0, 1.5, 4.0])
def test_codes_are_those_of_the_table(make_trainer, people, code):
    data = DataFrameDataModule(people, "income", batch_size=16)
    model = MLPClassifier(hidden_features=[8])
    make_trainer(max_epochs=1).fit(model, datamodule=data)
    table = Table.from_state(model.schema["table"])
    (x,) = table.transform(RawTable(people))
    expected = model.predict_proba(people)
    np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(x.short()), expected, atol=1e-6)
    x[70, table.feature_names.index("city")] = code
    message = rf"'city' holds codes from 0 to 3, found {code} in row 70: give a data frame"
    with pytest.raises(ValueError, match=message):
        model.predict(x, batch_size=32)


class Thing:
    """What no data frame but pandas' can hold."""


def test_other_columns_are_not_looked_at(classifier, blobs):
    x = blobs[0].numpy()
    expected = classifier.predict_proba(x)
    frame = pd.DataFrame(x, columns=NAMES)
    things = frame.assign(other=[Thing() for _ in x])
    twice = pd.concat(
        [frame, frame.rename(columns=str.upper), frame.rename(columns=str.upper)], axis=1
    )
    arrow = pa.Table.from_pandas(frame)
    for column in "xx":
        arrow = arrow.append_column(column, [["text"] * len(x)])
    for given in (things, twice, arrow, arrow.combine_chunks().to_batches()[0]):
        np.testing.assert_allclose(classifier.predict_proba(given), expected, atol=1e-6)
    with pytest.raises(ValueError, match="lacks 'b', which"):
        classifier.predict(things.drop(columns="b"))
    with pytest.raises(ValueError, match="cannot be read as a table"):
        classifier.predict(arrow.append_column("a", [[1.0] * len(x)]))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 5)), ValueError, "the model takes 4 features for each sample, found 5"),
        (np.zeros(4), ValueError, r"one row for each sample, found shape \(4,\)"),
        (np.array([["a"] * 4]), TypeError, "features must be numbers, found dtype <U1"),
        (np.zeros((2, 4), complex), TypeError, "numbers, found dtype complex128"),
        (torch.zeros(2, 4).to(torch.complex64), TypeError, "real numbers, found torch.complex64"),
        ([[1.0], [1.0, 2.0]], TypeError, "features must be an array of numbers: "),
        (None, TypeError, "found dtype object"),
        (np.ma.masked_equal([[0, 1, 0, 1]], 0), ValueError, "must not be masked: fill"),
        (torch.zeros(2, 4).to_sparse(), TypeError, r"dense, found torch.sparse_coo: call .*dense"),
        (
            [[0, 0, 0, 0], [0, 0, np.nan, 0]],
            ValueError,
            "features must be finite float32 numbers, found nan in row 1, column 'c'",
        ),
        ([[1e60, 0, 0, 0]], ValueError, "found inf in row 0, column 'a'"),
        (pl.DataFrame({"a": [1], "B": [1], "c": [1]}), ValueError, "lacks 'b', 'd', which"),
        (pl.DataFrame({name: ["x"] for name in NAMES}), TypeError, "column 'a' must hold numbers"),
        (pl.DataFrame({name: [None] for name in NAMES}), TypeError, "column 'a' must hold numbers"),
        (pd.DataFrame([[1] * 5], columns=[*NAMES, "a"]), ValueError, "cannot be read as a table"),
    ],
)
def test_what_is_no_input_is_refused_in_one_line(classifier, x, error, message):
    with pytest.raises(error, match=message) as caught:
        classifier.predict(x)
    assert len(str(caught.value).splitlines()) == 1


def test_rows_are_counted_over_batches(classifier):
    x = np.zeros((10, 4))
    x[7, 1] = np.inf
    with pytest.raises(ValueError, match="found inf in row 7, column 'b'"):
        classifier.predict(x, batch_size=3)
    with pytest.raises(ValueError, match="batch_size must be at least 1, found 0"):
        classifier.predict(x, batch_size=0)
    with pytest.raises(TypeError, match=r"batch_size must be a whole number, found 2\.0"):
        classifier.predict(x, batch_size=2.0)
    frame = pl.DataFrame({name: [0.0, 0.0, np.nan] for name in NAMES})
    with pytest.raises(ValueError, match="found nan in row 2, column 'a'"):
        classifier.predict(frame)


def test_an_array_without_masked_values_is_an_array(classifier, blobs):
    x = np.ma.masked_invalid(blobs[0].numpy())
    assert (classifier.predict_proba(x) == classifier.predict_proba(blobs[0])).all()


def test_a_frame_needs_names():
    model = MLPClassifier(4, 3, [8])
    with pytest.raises(ValueError, match="trained without names of features"):
        model.predict(pl.DataFrame({name: [1.0] for name in NAMES}))
    with pytest.raises(RuntimeError, match="has no layers yet"):
        MLPClassifier().predict([[1.0]])


def test_images_stay_bytes():
    model = MLPClassifier(in_features=12, num_classes=2, hidden_features=[])
    images = torch.randint(0, 256, (5, 3, 2, 2), dtype=torch.uint8)
    fractions = images.float() / 255
    np.testing.assert_allclose(
        model.predict_proba(images.numpy()), model.predict_proba(fractions), atol=1e-6
    )


@pytest.fixture
def trained_on(make_trainer, loader, tmp_path):
    """A classifier of digits in the given dtype, which was saved and loaded again."""

    def train(dtype):
        digits = load_digits()
        x = torch.from_numpy(digits.data).to(dtype)
        trainer = make_trainer(max_epochs=3)
        trainer.fit(MLPClassifier(64, 10, [32]), loader(x, torch.from_numpy(digits.target)))
        trainer.save_checkpoint(tmp_path / "model.ckpt")
        return lit_course.load(tmp_path / "model.ckpt"), digits.data

    return train


def test_bytes_are_numbers_to_a_model_that_was_trained_on_numbers(trained_on):
    model, x = trained_on(torch.float32)
    expected = model.predict_proba(x)
    for given in (x.astype("uint8"), torch.from_numpy(x.astype("uint8")), x.astype("int64")):
        np.testing.assert_allclose(model.predict_proba(given), expected, atol=1e-6)


def test_a_model_that_was_trained_on_bytes_takes_images_only(trained_on):
    model, x = trained_on(torch.uint8)
    expected = model.predict_proba(x.astype("uint8"))
    for given in (x.astype("int64"), x.astype("uint16"), x.astype("uint64"), x / 255):
        np.testing.assert_allclose(model.predict_proba(given), expected, atol=1e-6)
    x[70, 3] = 256
    for dtype, found in (("int64", "256"), ("uint16", "256"), ("float32", "5.0"), (">f8", "5.0")):
        where = 70 if found == "256" else 0
        message = rf"trained on uint8 images: .*, found {found} in row {where}, column \d+"
        with pytest.raises(ValueError, match=message) as error:
            model.predict(x.astype(dtype), batch_size=32)
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_columns_of_bytes_are_what_an_array_of_them_is(make_trainer, loader, dtype):
    x = torch.randint(0, 256, (64, 4)).to(dtype)
    schema = {"feature_names": NAMES}
    model = MLPClassifier(4, 2, [8], schema=schema)
    make_trainer(max_epochs=1).fit(model, loader(x, (x[:, 0] > 100).long()))
    frame = pl.DataFrame(dict(zip(NAMES, x.numpy().T, strict=True)))
    expected = model.predict_proba(x)
    for given in (frame.cast(pl.UInt8), frame.cast(pl.Int64)):
        np.testing.assert_allclose(model.predict_proba(given), expected, atol=1e-6)


# ---------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64, 1000])
def test_the_size_of_batches_changes_no_class(classifier, batch_size):
    x = torch.randn(500, 4) * torch.tensor([1.0, 10.0, 0.1, 1.0])
    one, other = classifier.predict(x), classifier.predict(x, batch_size=batch_size)
    assert one.tolist() == other.tolist()
    p, q = classifier.predict_proba(x), classifier.predict_proba(x, batch_size)
    np.testing.assert_allclose(p, q, rtol=0, atol=1e-6)
    assert p.sum(1) == pytest.approx(np.ones(500), abs=1e-6)


def test_classes_are_answered_by_name(classifier, blobs):
    labels = classifier.predict(blobs[0])
    assert isinstance(labels, np.ndarray)
    assert set(labels.tolist()) <= {"red", "green", "blue"}
    best = classifier.predict_proba(blobs[0]).argmax(1)
    assert labels.tolist() == classifier.labels[best].tolist()
    assert classifier.predict(blobs[0][:0]).tolist() == []


@pytest.mark.parametrize(
    "labels", [[3, 5, 10], [False, True], ["yes", "no"], [-1.0, 1.0], ["007", "no"], [0, 1]]
)
def test_labels_are_those_of_the_table(make_trainer, labels):
    y = [labels[i * len(labels) // 60] for i in range(60)]
    frame = pl.DataFrame({"x": [i // 2 for i in range(60)], "y": y})
    data = DataFrameDataModule(frame, "y", task="classification")
    model = MLPClassifier(hidden_features=[], lr=0.5)
    make_trainer(max_epochs=8).fit(model, datamodule=data)
    right = model.predict(frame) == frame["y"].to_numpy()
    assert right.mean() > 0.6


def test_without_names_labels_are_numbers(blobs):
    labels = MLPClassifier(4, 3, [8]).predict(blobs[0])
    assert labels.dtype == np.int64


def test_the_threshold_decides():
    model = MLPClassifier(4, 2, [8], threshold=0.9)
    x = torch.randn(100, 4)
    assert (model.predict(x) == (model.predict_proba(x)[:, 1] > 0.9)).all()


@pytest.mark.parametrize("target_transform", ["identity", "standard", "log"])
@pytest.mark.parametrize("columns", [1, 2])
def test_regressors_answer_in_original_units(make_trainer, loader, columns, target_transform):
    x = torch.rand(64, 3)
    y = 2000 + x[:, :columns] * 1000
    model = MLPRegressor(3, columns, [8], target_transform=target_transform, lr=0.01)
    make_trainer(max_epochs=5).fit(model, loader(x, y))
    answers = model.predict(x.numpy())
    assert answers.dtype == np.float64
    assert answers.shape == ((64,) if columns == 1 else (64, 2))
    model.eval()
    expected = model(x).detach().squeeze(1) if columns == 1 else model(x).detach()
    np.testing.assert_allclose(answers, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_a_line_is_its_coefficients(make_trainer, loader, line):
    x, y = line
    model = LinearRegressor(3, solver="exact")
    make_trainer().fit(model, loader(x, y))
    columns = np.c_[x.numpy(), np.ones(len(x))]
    weights = np.linalg.lstsq(columns, y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(model.predict(x), columns @ weights, atol=1e-5)
    assert not hasattr(model, "predict_proba")


def test_what_a_loss_says_beside_the_prediction():
    model = MLPRegressor(3, 1, [8], loss="quantile")
    answers = model.answers_to(torch.rand(5, 3))
    assert list(answers) == ["prediction", "quantile_0.05", "quantile_0.5", "quantile_0.95"]
    assert (answers["prediction"] == answers["quantile_0.5"]).all()


def test_a_ranker_answers_with_scores():
    model = Ranker(3, [8])
    x = torch.rand(9, 3)
    model.eval()
    np.testing.assert_allclose(model.predict(x), model(x).detach().numpy(), atol=1e-6)


# ---------------------------------------------------------------------------------- what it leaves


@pytest.mark.parametrize("training", [True, False])
def test_modes_gradients_and_statistics_are_as_before(classifier, blobs, training):
    classifier.train(training)
    classifier.network.dropout1.train(not training)
    classifier.network.output.requires_grad_(False)
    modes = [layer.training for layer in classifier.modules()]
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    with pytest.raises(ValueError, match="features must be finite"):
        classifier.predict([[np.nan] * 4])
    one, other = classifier.predict_proba(blobs[0]), classifier.predict_proba(blobs[0])
    assert (one == other).all()  # no dropout
    assert [layer.training for layer in classifier.modules()] == modes
    assert torch.is_grad_enabled()
    assert not classifier.network.output.weight.requires_grad
    assert all(torch.equal(before[key], value) for key, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    with torch.no_grad():
        classifier.predict(blobs[0])
        assert not torch.is_grad_enabled()


def test_forward_is_differentiable_also_after_a_predict(classifier, blobs):
    classifier.predict(blobs[0])
    x = blobs[0].clone().requires_grad_()
    classifier(x).square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert classifier.network.linear1.weight.grad.abs().sum() > 0


class Remembering(torch.nn.Linear):
    """Keeps what it made when it was first called."""

    kept = None

    def forward(self, x):
        if self.kept is None:
            self.kept = torch.ones(x.shape[1])
        return super().forward(x * self.kept)


class Own(MLPClassifier):
    def configure_network(self):
        return Remembering(4, 3)


def test_what_a_network_keeps_of_a_predict_can_be_differentiated(blobs):
    model = Own(4, 3)
    model.predict(blobs[0])
    x = blobs[0].clone().requires_grad_()
    model(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_another_device(classifier, blobs):
    expected = classifier.predict_proba(blobs[0])
    classifier.cuda()
    for x in (blobs[0], blobs[0].cuda(), blobs[0].numpy()):
        np.testing.assert_allclose(classifier.predict_proba(x), expected, atol=1e-5)
