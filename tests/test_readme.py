"""The commands of the README and the manual, typed as written."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from lit_course.cli import main

ROOT = Path(__file__).resolve().parents[1]


# docs/distributed.md starts processes: test_distributed.py types its commands.
PAGES = (
    "README.md",
    "docs/reliability.md",
    "docs/tables.md",
    "docs/images.md",
    "docs/baselines.md",
    "docs/commands.md",
    "docs/ranking.md",
    "docs/figures.md",
    "docs/tensorboard.md",
    "docs/quick_start.md",
    "docs/lessons/09_metrics.md",
)
LESSONS = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs/lessons").glob("??_*.md"))
# Their commands are given by tests/course.
PYTHON = tuple(dict.fromkeys([*PAGES, "docs/sklearn.md", *LESSONS]))
REUSE = "docs/reuse.md"  # what its commands leave is what its Python takes
ALL_PAGES = [
    "README.md",
    "SECURITY.md",
    *(
        str(page.relative_to(ROOT))
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if page.parent.name != "configuration"  # made from docstrings by `make docs`
    ),
]


def blocks(language: str, *pages: str) -> list[str]:
    texts = [(ROOT / page).read_text(encoding="utf-8") for page in pages]
    found = rf"^```{language}\n(.*?)^```"
    return [block for text in texts for block in re.findall(found, text, re.MULTILINE | re.DOTALL)]


@pytest.fixture
def fresh_folder(tmp_path, monkeypatch, flowers):
    """Where a new user stands: the configurations, a table and images of their own, no runs."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    rows = "".join(f"{size},{age},{3 * size - age}\n" for size in range(50, 90) for age in range(5))
    (tmp_path / "houses.csv").write_text("size,age,price\n" + rows)
    people = [
        f"{20 + i % 50 if i % 9 else ''},{('Bonn', 'Ulm', 'NA')[i % 3]},2024-0{1 + i % 9}-01,"
        for i in range(200)
    ]
    incomes = [f"{'high' if i % 50 + i % 3 > 25 else 'low'}\n" for i in range(200)]
    rows = "".join(row + income for row, income in zip(people, incomes, strict=True))
    (tmp_path / "people.csv").write_text("age,city,since,income\n" + rows)
    new = [row.replace("Ulm", "Rom") + "1\n" for row in people[:20]]
    (tmp_path / "new_people.csv").write_text("age,city,since,shoes\n" + "".join(new))
    shutil.copytree(flowers / "rose", tmp_path / "new")
    for file, queries in (("train.txt", range(30)), ("test.txt", range(5)), ("new.txt", range(3))):
        items = [(q, item) for q in queries for item in range(4)]
        lines = [f"{item} qid:{q} 1:{q % 3} {item + 2}:{item}.5\n" for q, item in items]
        (tmp_path / file).write_text("".join(lines))
    offers = "".join(f"q{row // 5},{row % 7},{row % 3}\n" for row in range(200))
    (tmp_path / "offers.csv").write_text("query,price,grade\n" + offers)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shortened(command: str) -> str:
    """A training of 20 epochs or more for a tenth of them."""
    if command == "lit-course fit --config configs/mlp_digits.yaml":
        return command + " --trainer.max_epochs 3"
    return re.sub(r"(?<=max_epochs )([2-9]|\d\d)0\b", r"\1", command)


def test_only_long_trainings_are_shortened():
    epochs = {"5": "5", "8": "8", "10": "10", "20": "2", "80": "8", "100": "10", "101": "101"}
    for given, found in epochs.items():
        assert shortened(f"fit --trainer.max_epochs {given} x").split()[2] == found


# test_configs.py, test_cross_validation.py and the tests of commands have samples of these.
SLOW = {
    "docs/lessons/09_metrics.md",
    "docs/baselines.md",
    "docs/commands.md",
    "docs/reuse.md",
    "docs/quick_start.md",
    "docs/tensorboard.md",
}


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page
        for page in (*PAGES, REUSE)
    ],
)
def test_the_commands(fresh_folder, capsys, page, whole):
    commands = [line for block in blocks("bash", page) for line in block.splitlines()]
    assert len(commands) > 1
    for command in commands:
        program, *args = shlex.split(command if whole else shortened(command))
        assert program == "lit-course"
        status = main(args)
        assert status == 0, f"{command}\n{capsys.readouterr().err}"
    if page == "README.md":
        (test,) = fresh_folder.rglob("test_metrics.json")
        assert test.parent == fresh_folder / "lightning_logs/mlp_digits/version_0"
    if page == REUSE:
        for code in blocks("python", page):
            exec(compile(code, "page", "exec"), {"__name__": "page"})


@pytest.mark.filterwarnings("ignore")  # a Trainer of one's own says what it likes
@pytest.mark.parametrize("page", [page for page in PYTHON if blocks("python", page)])
def test_the_python(fresh_folder, page):
    names = {"__name__": "page"}  # what a block has made, the next ones of the page may use
    for code in blocks("python", page):
        exec(compile(code, page, "exec"), names)


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    for target in set(re.findall(r"^make (\S+)", text, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", ALL_PAGES)
def test_the_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        inside = (ROOT / page).parent / target
        assert target.startswith("https://") or inside.exists(), target


@pytest.mark.parametrize("page", ALL_PAGES)
def test_the_tests_that_a_page_names_exist(page):
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    for name in re.findall(r"`(test_\w+)`", (ROOT / page).read_text(encoding="utf-8")):
        assert f"def {name}(" in tests, name
