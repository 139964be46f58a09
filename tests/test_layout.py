"""The house: who may import whom, and that nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "lit_course"

# A room is a file, or a folder where its files stand for one thing. Change this with the house.
PLAIN = {"names", "scaling"}
ARROWS: dict[str, set[str]] = {
    "__init__": {"datamodules", "loading", "modules"},
    "__main__": {"cli"},
    "cli": {
        "commands",
        "console",
        "cross_validation",
        "messages",
        "names",
        "processes",
        "trainer_cli",
    },
    "commands": {
        "callbacks",
        "closed_table",
        "config_cli",
        "course",
        "losses",
        "messages",
        "modules",
        "networks",
        "optimizers",
        "figures",
        "metrics",
        "output_file",
        "ranking_losses",
        "ranking_metrics",
        "recorded",
        "regression_losses",
        "schedules",
        "trainer_flags",
    },
    "course": {
        "checkpoints",
        "closed_table",
        "datamodules",
        "figures",
        "loading",
        "losses",
        "messages",
        "networks",
        "optimizers",
        "recorded",
        "runs",
    },
    "trainer_cli": {
        "callbacks",
        "checkpoint_io",
        "config_cli",
        "datamodules",
        "messages",
        "runs",
        "trainer_flags",
    },
    "config_cli": {
        "callbacks",
        "closed_table",
        "config_files",
        "datamodules",
        "given_checkpoint",
        "messages",
        "modules",
        "output_file",
        "runs",
    },
    "output_file": {"messages"},
    "loading": {"checkpoints", "closed_table", "modules", "runs"},
    "given_checkpoint": {
        "checkpoints",
        "closed_table",
        "config_files",
        "messages",
        "modules",
        "processes",
        "runs",
    },
    "closed_table": {"config_files", "datamodules", "modules"},
    "config_files": set(),
    "messages": {"names"},
    "checkpoint_io": {"checkpoints"},
    "checkpoints": {"archive", "plain_pickle", "tensor_shapes"},
    "archive": set(),
    "plain_pickle": {"tensor_shapes"},
    "tensor_shapes": set(),
    "console": {"messages", "processes"},
    "trainer_flags": {"messages"},
    "processes": set(),
    "recorded": {"config_files", "runs"},
    "runs": set(),
    "callbacks": {
        "baselines",
        "categories",
        "checkpoint_io",
        "checkpoints",
        "decisions",
        "figures",
        "gather",
        "metrics",
        "modules",
        "stage_metrics",
    },
    "baselines": {"categories", "scaling", "solvers"},
    "cross_validation": {
        "callbacks",
        "config_cli",
        "datamodules",
        "messages",
        "runs",
        "trainer_cli",
        "trainer_flags",
    },
    "sklearn": {
        "callbacks",
        "console",
        "datamodules",
        "modules",
        "networks",
        "schedules",
        "target_scaling",
    },
    "figures": set(),
    "gather": set(),
    "modules": {
        "categories",
        "checkpoints",
        "dcg",
        "decisions",
        "figures",
        "gather",
        "kept_precision",
        "losses",
        "mean_loss",
        "metrics",
        "names",
        "networks",
        "optimizers",
        "piecewise",
        "queries",
        "ranking_losses",
        "ranking_metrics",
        "raw_table",
        "regression_losses",
        "runs",
        "scaling",
        "schedules",
        "solvers",
        "stage_metrics",
        "tables",
        "target_scaling",
    },
    "datamodules": {"columns", "names", "raw_table", "scaling", "tables", "targets"},
    "tables": {"columns", "names", "raw_table"},
    "raw_table": {"names"},
    "targets": {"columns"},
    "columns": set(),
    "networks": PLAIN | {"categories", "piecewise", "target_scaling"},
    "piecewise": set(),
    "categories": {"scaling"},
    "losses": PLAIN,
    "mean_loss": {"losses"},
    "regression_losses": {"target_scaling"},
    "ranking_losses": {"dcg", "losses", "pairs", "queries"},
    "ranking_metrics": {"dcg", "queries"},
    "pairs": {"queries"},
    "dcg": {"queries"},
    "queries": set(),
    "target_scaling": PLAIN | {"kept_precision"},
    "kept_precision": set(),
    "optimizers": PLAIN,
    "solvers": set(),
    "schedules": PLAIN,
    "stage_metrics": {"pending"},
    "pending": set(),
    "metrics": PLAIN | {"auroc", "decisions"},
    "decisions": {"auroc"},
    "auroc": set(),
    "names": set(),
    "scaling": set(),
}
# Inside the two folders: bases know nothing of what is built on them.
INSIDE: dict[str, set[str]] = {
    "modules/at_rest": set(),
    "modules/batch": set(),
    "modules/class_labels": set(),
    "modules/global_batch": set(),
    "modules/hyperparameters": set(),
    "modules/raw_input": set(),
    "modules/survey": {"at_rest", "batch"},
    "modules/transfer": set(),
    "modules/optimized": {"hyperparameters"},
    "modules/position": set(),
    "modules/declared": {"hyperparameters", "optimized", "position", "transfer"},
    "modules/lean_loop": set(),
    "modules/base": {
        "at_rest",
        "batch",
        "declared",
        "global_batch",
        "lean_loop",
        "position",
        "raw_input",
        "survey",
        "transfer",
    },
    "modules/decision_threshold": set(),
    "modules/perceptron": {"base", "hyperparameters", "survey"},
    "modules/regressor": {"base", "survey"},
    "modules/mlp_classifier": {
        "base",
        "class_labels",
        "decision_threshold",
        "hyperparameters",
        "perceptron",
        "survey",
    },
    "modules/mlp_regressor": {"hyperparameters", "perceptron", "regressor"},
    "modules/query_batch": {"batch"},
    "modules/ranker": {"base", "hyperparameters", "perceptron", "query_batch"},
    "modules/solvable": {"base", "survey"},
    "modules/linear_regressor": {"hyperparameters", "regressor", "solvable", "survey"},
    "datamodules/batches": set(),
    "datamodules/query_batches": {"batches"},
    "datamodules/samples": set(),
    "datamodules/splits": set(),
    "datamodules/folds": {"splits"},
    "datamodules/expansion": set(),
    "datamodules/class_folders": set(),
    "datamodules/image_files": {"expansion"},
    "datamodules/image_cache": {"class_folders"},
    "datamodules/table_cache": set(),
    "datamodules/given_file": set(),
    "datamodules/table_files": {"expansion", "given_file", "table_cache", "text_faults"},
    "datamodules/text_faults": set(),
    "datamodules/table_rows": {"folds", "splits"},
    "datamodules/svmlight_text": set(),
    "datamodules/svmlight_files": {"expansion", "given_file", "svmlight_text"},
    "datamodules/base": {"batches", "folds", "query_batches", "samples", "splits"},
    "datamodules/table": {"base", "samples", "table_rows"},
}


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lit_course"):
            if node.module == "lit_course":
                found |= {alias.name for alias in node.names}
            else:
                found.add(node.module.removeprefix("lit_course."))
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            found |= {name.removeprefix("lit_course.") for name in names if "lit_course." in name}
    return found


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_arrows_of_the_house(path):
    own = room(path)
    assert own in ARROWS, f"{own} is a new room: say here who may know it"
    outside = {name.split(".")[0] for name in imports(path)} - {own}
    assert outside <= ARROWS[own]


@pytest.mark.parametrize("place", INSIDE)
def test_bases_do_not_know_what_is_built_on_them(place):
    folder, _, name = place.partition("/")
    inside = {
        module.split(".")[1]
        for module in imports(PACKAGE / folder / f"{name}.py")
        if module.startswith(f"{folder}.")
    }
    assert inside <= INSIDE[place]


def test_no_circle():
    def reachable(start: str, seen: frozenset[str]) -> bool:
        return any(
            following in seen or reachable(following, seen | {following})
            for following in ARROWS[start]
        )

    assert not any(reachable(start, frozenset({start})) for start in ARROWS)


def test_one_namespace_of_lightning():
    """``pytorch_lightning`` beside ``lightning.pytorch`` makes two classes of every class."""
    for path in files():
        assert "pytorch_lightning" not in path.read_text(encoding="utf-8"), path


def test_no_drawer_for_odds_and_ends():
    assert not {path.stem for path in files()} & {"utils", "common", "helpers", "misc"}


def test_version_and_help_do_not_wait_for_torch():
    """One process for all three, since each start costs."""
    script = (
        "import sys, lit_course, lit_course.cli as cli\n"
        "assert cli.main(['--version']) == 0 and cli.main(['--help']) == 0\n"
        "heavy = {'torch', 'lightning', 'torchvision', 'jsonargparse', 'matplotlib'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "lit-course 0" in done.stdout
