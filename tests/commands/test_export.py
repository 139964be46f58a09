"""Exported models: the same answers elsewhere, for any number of samples, or no file."""

import json
import logging
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch

import lit_course
from lit_course.commands import export_formats
from lit_course.commands.export import export
from lit_course.networks import load_network
from lit_course.regression_losses import IntervalLoss
from lit_course.scaling import InputScaling

DIABETES = ("--data", "DiabetesDataModule", "--trainer.max_epochs", 1)
SUFFIX = {"torch_export": "pt2", "onnx": "onnx", "state_dict": "pt", "safetensors": "safetensors"}
FORMATS = list(SUFFIX)


def models():
    """Every network, with what changes its answers; trained enough to have its statistics."""
    table = {
        "table": {
            "columns": [
                {"kind": "number", "fill": [0.0], "missing": True},
                {"kind": "category", "missing": True, "levels": list("abc"), "others": False},
                {"kind": "category", "missing": False, "levels": list("abcdef"), "others": True},
            ]
        }
    }
    yield (
        "classes",
        lit_course.MLPClassifier(
            4, 3, [8, 8], normalization="batch", dropout=0.5, activation="gelu"
        ),
    )
    yield "two classes", lit_course.MLPClassifier(4, 2, [8], threshold=0.3, loss="bce")
    yield "nll", lit_course.MLPClassifier(4, 3, [8], loss="nll", normalization="layer")
    yield "a table", lit_course.MLPClassifier(4, 3, [8], one_hot_levels=4, schema=table)
    yield "a line", lit_course.LinearRegressor(4, out_features=2, schema=table)
    yield "a parabola", lit_course.LinearRegressor(4, degree=3, target_transform="standard")
    yield "numbers", lit_course.MLPRegressor(4, 2, [8], target_transform="log")
    yield (
        "intervals",
        lit_course.MLPRegressor(4, 2, [8], loss="gaussian_nll", target_transform="log"),
    )
    yield "scores", lit_course.Ranker(4, [8], bins=5)


@pytest.fixture(params=models(), ids=lambda param: param[0])
def model(request):
    model = request.param[1]
    for scaling in (m for m in model.modules() if isinstance(m, InputScaling)):
        scaling.mean.uniform_(-1, 1)
        scaling.std.uniform_(0.5, 2)
    if getattr(model, "target_transform", "identity") != "identity":
        model.target_scaling.mean.fill_(3.0)
        model.target_scaling.std.fill_(0.7)
    return model


X = torch.tensor([[0.5, 0, 1, 2], [-2, 1, 3, 7], [1.5, 0, 4, 5], [0, 0, 2, 0.0]]).repeat(9, 1)


@pytest.mark.parametrize(
    "name", [pytest.param("torch_export", marks=pytest.mark.slow), "state_dict", "safetensors"]
)
def test_every_model_answers_alike(model, name, tmp_path):
    path = tmp_path / f"model.{SUFFIX[name]}"
    model.train()
    if name != "torch_export" and isinstance(model.loss, IntervalLoss):
        with pytest.raises(ValueError, match=r"gives an interval .* give --format torch_export"):
            export(model, X, path, name)
        return
    assert export(model, X, path, name) <= 1e-5
    assert model.training
    assert {file.name for file in tmp_path.iterdir()} == {path.name, f"{path.name}.json"}
    said = json.loads((tmp_path / f"{path.name}.json").read_text())
    assert said["format"] == name
    assert said["input"] == {"shape": ["batch", 4], "dtype": "float32"}
    assert said["parity"]["rows"] == len(X)
    if name == "torch_export":
        program = torch.export.load(path).module()
        assert said["outputs"] == list(model.answers_to(X))
        for rows in (1, 2, 5, 33):
            answers = dict(zip(said["outputs"], program(X[:rows]), strict=True))
            for key, expected in model.answers_to(X[:rows]).items():
                np.testing.assert_allclose(answers[key].detach(), expected, atol=1e-6, rtol=1e-6)
    else:
        assert all("network" not in key for key in load_network(path).state_dict()) or hasattr(
            load_network(path), "scaling"
        )
        model.eval()
        outputs = load_network(path)(X).reshape(model(X).shape)
        np.testing.assert_allclose(outputs.detach(), model(X).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_every_model_answers_alike_in_onnxruntime(model, tmp_path):
    from onnxruntime import InferenceSession

    assert export(model, X, tmp_path / "model.onnx", "onnx") <= 1e-5
    session = InferenceSession(tmp_path / "model.onnx")
    assert session.get_inputs()[0].shape == ["batch", 4]
    assert {output.shape[0] for output in session.get_outputs()} == {"batch"}
    names = [output.name for output in session.get_outputs()]
    for rows in (1, 2, 5, 33):
        answers = dict(zip(names, session.run(None, {"x": X[:rows].numpy()}), strict=True))
        for key, expected in model.answers_to(X[:rows]).items():
            np.testing.assert_allclose(answers[key], expected, atol=1e-5, rtol=1e-5)


def test_intervals_are_part_of_a_program(tmp_path):
    model = lit_course.MLPRegressor(4, 1, [8], loss="quantile")
    assert export(model, X, tmp_path / "model.pt2", "torch_export") <= 1e-5
    said = json.loads((tmp_path / "model.pt2.json").read_text())
    assert said["outputs"] == list(model.answers_to(X))


def test_images_go_in_as_bytes(tmp_path):
    model = lit_course.MLPClassifier(12, 3, [8])
    x = torch.randint(0, 256, (9, 3, 2, 2), dtype=torch.uint8)
    assert export(model, x, tmp_path / "model.pt2", "torch_export") <= 1e-5
    said = json.loads((tmp_path / "model.pt2.json").read_text())
    assert said["input"] == {"shape": ["batch", 3, 2, 2], "dtype": "uint8"}
    _, p = torch.export.load(tmp_path / "model.pt2").module()(x)
    np.testing.assert_allclose(p.detach(), model.predict_proba(x), atol=1e-6)


# ---------------------------------------------------------------------------------- no file


@pytest.mark.parametrize("off", [2e-5, float("nan")])
def test_a_file_with_other_answers_is_not_kept(tmp_path, monkeypatch, off):
    model = lit_course.MLPClassifier(4, 3, [8])
    real = export_formats.load_network

    def wrong(path):
        network = real(path)
        return lambda x: network(x) + off

    monkeypatch.setattr(export_formats, "load_network", wrong)
    (tmp_path / "model.pt").write_text("old")
    with pytest.raises(ValueError, match=r"model\.pt is not kept: its answers differ"):
        export(model, X, tmp_path / "model.pt", "state_dict")
    assert {file.name for file in tmp_path.iterdir()} == {"model.pt"}
    assert (tmp_path / "model.pt").read_text() == "old"


def test_a_file_that_cannot_be_run_is_not_kept(tmp_path, monkeypatch):
    def broken(path):
        raise RuntimeError("no such operator\nand so on")

    monkeypatch.setattr(export_formats, "load_network", broken)
    with pytest.raises(
        ValueError, match=r"model\.pt is not kept: torch cannot run it: R.*operator$"
    ):
        export(lit_course.MLPClassifier(4, 3, [8]), X, tmp_path / "model.pt", "state_dict")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_onnxruntime_has_not_is_said_in_a_line(tmp_path):
    with pytest.raises(
        ValueError, match=r"not kept: onnxruntime cannot run it: .*Softplus"
    ) as error:
        export(own(Double()), X, tmp_path / "model.onnx", "onnx")
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


class Branching(torch.nn.Module):
    def forward(self, x):
        return x[:, :3] if x.sum() > 0 else x[:, 1:]


class Counting(torch.nn.Module):
    def forward(self, x):
        return x[:, :3].reshape(len(x), 3)


class Double(torch.nn.Module):
    """onnxruntime has no such function of float64."""

    def forward(self, x):
        return torch.nn.functional.softplus(x[:, :3].double()).float()


def own(network):
    model = lit_course.MLPClassifier(4, 3)
    model.network = network
    return model


@pytest.mark.parametrize("network", [Branching, Counting])
def test_what_cannot_be_traced_is_said_in_a_line(tmp_path, capfd, network):
    with pytest.raises(
        ValueError, match=r"MLPClassifier cannot be traced, for any number .* take x\.shape"
    ) as e:
        export(own(network()), X, tmp_path / "model.pt2", "torch_export")
    assert len(str(e.value).splitlines()) == 1
    assert "TORCH_LOGS" not in str(e.value)
    assert tuple(capfd.readouterr()) == ("", "")
    assert logging.root.manager.disable == 0
    assert not list(tmp_path.iterdir())


def test_a_network_of_ones_own_is_a_program_not_weights(tmp_path):
    model = own(torch.nn.Linear(4, 3))
    with pytest.raises(ValueError, match="Linear is no network of"):
        export(model, X, tmp_path / "model.pt", "state_dict")
    assert not list(tmp_path.iterdir())
    assert export(model, X, tmp_path / "model.pt2", "torch_export") <= 1e-5


def test_weights_and_sizes_belong_together(tmp_path):
    export(lit_course.MLPClassifier(4, 3, [8]), X, tmp_path / "a.pt", "state_dict")
    export(lit_course.MLPClassifier(4, 3, [9]), X, tmp_path / "b.pt", "state_dict")
    (tmp_path / "b.pt.json").rename(tmp_path / "a.pt.json")
    for write in (lambda: None, lambda: torch.save(X, tmp_path / "a.pt")):
        write()
        with pytest.raises(ValueError, match=r"a\.pt does not belong to the JSON beside it"):
            load_network(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("name", "runtime"),
    [
        ("torch_export", r"torch\.export\.load"),
        pytest.param("onnx", "onnxruntime", marks=pytest.mark.slow),
    ],
)
def test_a_program_is_no_weights(tmp_path, name, runtime):
    path = tmp_path / f"model.{SUFFIX[name]}"
    for model in (own(torch.nn.Linear(4, 3)), lit_course.MLPClassifier(4, 3, [8])):
        export(model, X, path, name)
        message = rf"{path.name} is a program, for {runtime}: weights are written by .*state_dict"
        with pytest.raises(ValueError, match=message) as error:
            load_network(path)
        assert len(str(error.value).splitlines()) == 1


BROKEN = {
    "model.pt": (b"", b"text", b"PK\x03\x04 and no more"),
    "model.safetensors": (b"", b"text", b"\xff" * 100),
    "model.pt.json": (b"", b"text", b"[]", b"{}", b'{"format": []}', b"\xff\xfe"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_in_a_line(tmp_path, name):
    path = tmp_path / name.removesuffix(".json")
    kind = "safetensors" if path.suffix == ".safetensors" else "state_dict"
    export(lit_course.MLPClassifier(4, 3, [8]), X, path, kind)
    for content in BROKEN[name]:
        (tmp_path / name).write_bytes(content)
        message = rf"{name} (holds no weights|is not what lit-course export wrote beside weights)$"
        with pytest.raises(ValueError, match=message):
            load_network(path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_network(path)


# ---------------------------------------------------------------------------------- the command


def test_the_command(fit, lit, tmp_path):
    run = fit(epochs=1)
    done = lit("export", "--ckpt_path", run)
    assert done.status == 0, done.err
    assert "model.pt2: checked on 270 rows, max difference" in done.out
    said = json.loads((run / "model.pt2.json").read_text())
    assert said["schema"]["class_names"] == [str(digit) for digit in range(10)]
    assert said["parity"]["max_difference"] <= 1e-5
    file = tmp_path / "digits.safetensors"
    command = ("export", "--ckpt_path", run, "--format", "safetensors", "--output", file)
    assert lit(*command).status == 0
    assert lit(*command).status == 2
    assert lit(*command, "--overwrite").status == 0
    assert not list(tmp_path.rglob("*.part*"))


@pytest.mark.slow
def test_the_command_for_onnx(fit, lit, tmp_path):
    from onnxruntime import InferenceSession
    from sklearn.datasets import load_digits

    run = fit(epochs=1)
    done = lit("export", "--ckpt_path", run, "--format", "onnx")
    assert done.status == 0, done.err
    assert (done.err, len(done.out.splitlines())) == ("", 2)
    x = load_digits().data.astype("float32")
    classes, p = InferenceSession(run / "model.onnx").run(None, {"x": x})
    model = lit_course.load(run)
    assert (classes == model.predict(x)).all()
    np.testing.assert_allclose(p, model.predict_proba(x), atol=1e-5)


def test_a_tuned_threshold_goes_along_and_what_is_typed_wins(lit, tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 3)).astype("float32")
    y = (x[:, 0] + random.normal(size=300) > 1).astype("int64")
    np.savez(tmp_path / "data.npz", X=x, y=y)
    data = ("--data", "ArrayDataModule", "--data.X", tmp_path / "data.npz")
    model = (
        "--model",
        "MLPClassifier",
        "--model.threshold",
        "tune",
        "--model.hidden_features",
        "[8]",
    )
    assert lit("fit", *model, *data, "--trainer.max_epochs", 2, "--name", "run").status == 0
    run = tmp_path / "runs/run/version_0"
    tuned = lit_course.load(run).decision_threshold
    assert tuned != 0.5
    for given, threshold in (((), tuned), (("--model.threshold", 0.9), 0.9)):
        done = lit("export", "--ckpt_path", run, *given)
        assert done.status == 0, done.err
        assert ("threshold: 0.9, in the checkpoint tune" in done.err) == bool(given)
        classes, p = torch.export.load(run / "model.pt2").module()(torch.from_numpy(x))
        assert torch.equal(classes, (p[:, 1] > threshold).long())


WRONG = {
    "--format onyx": "--format must be torch_export or onnx or state_dict or safetensors",
    "--output model.onnx": "--output must end in .pt2, found 'model.onnx'",
    "--output old.pt2": "old.pt2 exists: add --overwrite to replace it",
    "--output other.pt2": "other.pt2.json exists: add --overwrite to replace it",
    "--output nowhere/model.pt2": "cannot be written: No such file",
    "--format onnx": "needs onnxscript: pip install 'lit-course[export]'",
}


def test_a_wrong_command_writes_nothing(fit, lit, tmp_path, monkeypatch):
    from lit_course.commands import export as command

    monkeypatch.setattr(command, "find_spec", lambda name: name != "onnxscript" or None)
    run = fit(epochs=1)
    monkeypatch.chdir(tmp_path)
    for name in ("old.pt2", "other.pt2.json"):
        (tmp_path / name).write_text("old")
    before = sorted(tmp_path.rglob("*"))
    for args, said in WRONG.items():
        done = lit("export", "--ckpt_path", run, *args.split())
        assert done.status == 2, args
        assert said in done.err
        assert len(done.err.splitlines()) == 1
        assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_is_needed(lit):
    done = lit("export")
    assert done.status == 2
    assert "export needs a trained model: --ckpt_path" in done.err


def test_a_table_is_exported_with_its_vocabularies(lit, tmp_path):
    cities = ("Bonn", "Ulm", "Rom")
    rows = [f"{i // 2},{cities[i % 3]},{3 * i - i % 3}" for i in range(100)]
    (tmp_path / "houses.csv").write_text("size,city,price\n" + "\n".join(rows) + "\n")
    data = ("--data", "CSVDataModule", "--data.path", tmp_path / "houses.csv")
    options = ("--data.target", "price", "--trainer.max_epochs", 3, "--name", "houses")
    assert lit("fit", "--model", "MLPRegressor", *data, *options).status == 0
    run = tmp_path / "runs/houses/version_0"
    for name in ("state_dict", "torch_export"):
        done = lit("export", "--ckpt_path", run, "--format", name)
        assert done.status == 0, done.err
    said = json.loads((run / "model.pt.json").read_text())
    assert said["schema"]["feature_names"] == ["size", "city"]
    assert said["schema"]["table"]["columns"][1]["levels"] == ["Bonn", "Rom", "Ulm"]
    codes = torch.tensor([[50.0, 0], [60, 2]])
    answers = load_network(run / "model.pt")(codes).squeeze(1).detach()
    frame = pl.DataFrame({"size": [50, 60], "city": ["Bonn", "Ulm"]})
    np.testing.assert_allclose(answers, lit_course.load(run).predict(frame), rtol=1e-6)


def test_weights_are_used_where_there_is_no_lightning(tmp_path):
    model = lit_course.MLPRegressor(4, 1, [8], target_transform="standard")
    for name in ("state_dict", "safetensors"):
        export(model, X, tmp_path / f"{name}.{SUFFIX[name]}", name)
    script = (
        "import sys\n"
        "for blocked in ('lightning', 'torchmetrics', 'jsonargparse', 'polars'):\n"
        "    sys.modules[blocked] = None\n"
        "import torch\n"
        "from lit_course.networks import load_network\n"
        "for file in sys.argv[1:]:\n"
        "    print(load_network(file)(torch.ones(2, 4)).flatten().tolist())\n"
    )
    files = [str(tmp_path / name) for name in ("state_dict.pt", "safetensors.safetensors")]
    done = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = model.predict(np.ones((2, 4))).tolist()
    for line in done.stdout.splitlines():
        assert json.loads(line) == pytest.approx(expected)


def test_help_is_of_export(lit, capsys):
    done = lit("export", "--help")
    assert done.status == 0
    assert done.out.startswith("usage: lit-course export [-c CONFIG]")
    assert "predict " not in done.out.partition("options:")[0]
    assert "Writes the model of a checkpoint for other programs" in done.out
