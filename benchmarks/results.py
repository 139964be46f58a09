"""Runs every configuration in full and records its figures in ``docs/results.json``.

``make results``, or ``python -m benchmarks.results --only mlp_digits``. The headers of the
configurations and the docs quote this record, and a test holds them to it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_squared_error
from sklearn.preprocessing import PolynomialFeatures

# tensorboard ships no type information.
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from lit_course import LinearRegressor, datamodules
from lit_course.cli import main as lit_course

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").rglob("*.yaml"))}
RECORD = ROOT / "docs" / "results.json"
SEEDS = [0, 1, 2]  # of a configuration that does not set its own
FIVE = [0, 1, 2, 3, 4]  # of those that are tested on few queries
MORE_SEEDS = {"linear_ranker_lambdarank": FIVE, "mlp_ranker_lambdarank": FIVE}
PACKAGES = ("lightning", "scikit-learn", "torch", "torchmetrics")
# Values whose course over the epochs a header quotes.
CURVES = {
    "linear_roller_coaster": "train/loss",
    "lesson5_output_relu": "val/accuracy",
    "lesson5_no_output_relu": "val/accuracy",
}

Config = dict[str, Any]


def read(path: Path) -> Config:
    """A configuration file as plain values."""
    config: Config = yaml.safe_load(path.read_text(encoding="utf-8"))
    return config


def command(config: Path) -> list[str]:
    """What to run for a configuration: the command in its header, without the program's name."""
    found = re.search(
        r"^#\s+lit-course (fit .*)$", config.read_text(encoding="utf-8"), re.MULTILINE
    )
    if found is None:
        raise ValueError(f"the header of {config} holds no command 'lit-course fit ...'")
    return found[1].split()


def data_flags(config: Path, data: Path) -> list[str]:
    """Where a configuration finds its files in a folder of data."""
    class_path = read(config)["data"]["class_path"]
    return {
        "FashionMNISTDataModule": [f"--data.root={data}"],
        "CSVDataModule": [f"--data.path={data / 'boston.csv'}"],
        "SVMLightDataModule": [
            f"--data.path={data / 'lambdarank' / 'rank.train'}",
            f"--data.test_path={data / 'lambdarank' / 'rank.test'}",
        ],
    }.get(class_path.rpartition(".")[2], [])


def measure(name: str, data: Path) -> dict[str, Any]:
    """Run one configuration with every seed: of the weights, of the split and of the order.

    Args:
        name: The configuration's file name without its ending.
        data: Folder that holds ``FashionMNIST/``, ``boston.csv`` and ``lambdarank/``.

    Returns:
        Its entry in the record; each figure is a list with one value for each seed.
    """
    config = CONFIGS[name]
    asked = command(config)
    own_seed = read(config)["data"].get("init_args", {}).get("seed")
    seeds = MORE_SEEDS.get(name, SEEDS) if own_seed is None else [own_seed]
    header = config.read_text(encoding="utf-8")
    runs = [run_once([*asked, *data_flags(config, data)], seed, CURVES.get(name)) for seed in seeds]
    return {
        "command": " ".join(["lit-course", *asked]),
        "cores": torch.get_num_threads(),
        "curves": {key: [run["curves"][key] for run in runs] for key in runs[0]["curves"]},
        "date": date.today().isoformat(),
        "metrics": {
            key: [run["metrics"][key] for run in runs]
            for key in runs[0]["metrics"]
            if key.count("/") < 2 or key in header  # of single classes what is quoted
        },
        "platform": f"{platform.system()} {platform.machine()}",
        "seconds": [run["seconds"] for run in runs],
        "seeds": seeds,
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
    }


def run_once(args: list[str], seed: int, curve: str | None = None) -> dict[str, Any]:
    """Run a command with a seed: its metrics, seconds and, if asked for, a value by the epoch."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--seed_everything", str(seed), "--data.seed", str(seed), "--runs", folder]
        started = time.perf_counter()
        status = lit_course([*args, *flags])
        seconds = time.perf_counter() - started
        if status:
            raise SystemExit(f"exit status {status} from: lit-course {' '.join([*args, *flags])}")
        [run] = Path(folder).glob("*/version_0")
        metrics = {}
        for file in sorted(run.glob("*_metrics.json")):
            metrics.update(json.loads(file.read_text(encoding="utf-8")))
        metrics.update(distance_from_least_squares(run))
        return {
            "metrics": metrics,
            "seconds": seconds,
            "curves": {} if curve is None else {curve: _by_epoch(run, curve)},
        }


def _by_epoch(run: Path, name: str) -> list[float]:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return [event.value for event in events.Scalars(name)]


def distance_from_least_squares(run: Path) -> dict[str, float]:
    """How far a linear run's best checkpoint is from scikit-learn's exact solution.

    All are relative: of the weights (in units of one deviation of each feature, so that no
    feature's unit decides) the length of the difference over the length of the exact ones.

    Args:
        run: The run's folder.

    Returns:
        ``least_squares/<what>`` for the weights, and the test split's MAE and MSE where it has
        one; empty for a run of another model.
    """
    config = read(run / "config.yaml")
    if not config["model"]["class_path"].endswith(".LinearRegressor"):
        return {}
    model = LinearRegressor.load_from_checkpoint(run / "checkpoints" / "best.ckpt")
    data = datamodule(config)
    polynomial = PolynomialFeatures(model.degree, include_bias=False)
    x, y = whole(data.train_dataloader())
    x = polynomial.fit_transform(x)
    exact = LinearRegression().fit(x, y)
    *weights, _ = model.coefficients().values()
    deviations = torch.from_numpy(x.std(0))
    best = torch.from_numpy(exact.coef_) * deviations
    distance = {"weights": float((torch.stack(weights) * deviations - best).norm() / best.norm())}
    if (tested := run / "test_metrics.json").is_file():
        ours = json.loads(tested.read_text(encoding="utf-8"))
        x, y = whole(data.test_dataloader())
        theirs = exact.predict(polynomial.transform(x))
        for name, error in (("mae", mean_absolute_error), ("mse", mean_squared_error)):
            distance[f"test_{name}"] = abs(ours[f"test/{name}"] / error(y, theirs) - 1)
    return {f"least_squares/{name}": value for name, value in distance.items()}


def datamodule(config: Config) -> datamodules.SupervisedDataModule:
    """The data module of a run's saved configuration, with its data loaded."""
    name = config["data"]["class_path"].rpartition(".")[2]
    data: datamodules.SupervisedDataModule = getattr(datamodules, name)(
        **config["data"]["init_args"]
    )
    data.setup()
    return data


def whole(batches: datamodules.Batches) -> tuple[Any, Any]:
    """All features and targets of a loader, as float64 arrays."""
    x, y = zip(*((x, y) for x, y, *_ in batches), strict=True)
    return torch.cat(x).double().numpy(), torch.cat(y).double().numpy()


def rounded(value: Any) -> Any:
    """The same structure with floats of six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write(record: dict[str, Any]) -> None:
    """Write the record: sorted, and each list of numbers on one line."""
    text = json.dumps(rounded(record), indent=1, sort_keys=True)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
    RECORD.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Measure the configurations that were asked for, all by default."""
    shared = ROOT.parent / "shared" / "data"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        default=shared if shared.is_dir() else ROOT / "data",
        help="folder that holds FashionMNIST/, boston.csv and lambdarank/",
    )
    parser.add_argument("--only", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    args = parser.parse_args()
    data = args.data.resolve()
    os.chdir(ROOT)  # the commands name the configurations from here
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    for name in args.only:
        record[name] = measure(name, data)
        write({key: entry for key, entry in record.items() if key in CONFIGS})


if __name__ == "__main__":
    main()
