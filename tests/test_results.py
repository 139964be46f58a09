"""What the headers of the configurations claim is what ``make results`` recorded."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from statistics import mean, stdev

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").rglob("*.yaml"))}
RECORD = ROOT / "docs" / "results.json"
CORES = {"one CPU core": 1, "two CPU cores": 2}

NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?"
SEEDS = re.compile(r"\(seeds? ([\d, ]+)\)")
SECONDS = re.compile(rf"({NUMBER}) s\b")
VALUE = re.compile(rf"([a-z]\w*/[\w/@]+) ({NUMBER})( %)?(?: ± ({NUMBER}))?")
CURVE = re.compile(rf"([a-z]\w*/[\w/@]+) by epoch:? ({NUMBER}(?:; {NUMBER})*)( %)?")


def measured(config: Path) -> str:
    """The measurements in a header: its comment from ``Measured:`` on, in one line."""
    header = re.match(r"(?:#.*\n)+", config.read_text(encoding="utf-8"))
    text = " ".join(line.lstrip("# ") for line in header[0].splitlines()) if header else ""
    _, found, claims = text.partition("Measured:")
    assert found, f"the header of {config} says nothing of what was measured"
    return claims


def as_quoted(value: float, quoted: str, percent: bool = False) -> str:
    """A recorded value with as many digits as the header gives."""
    value = 100 * value if percent else value
    if "e" in quoted:
        return re.sub(r"e([+-])0*", lambda m: "e" + m[1].strip("+"), f"{value:.0e}")
    return f"{value:,.{len(quoted.partition('.')[2])}f}"


def disagreements(claims: str, entry: dict) -> list[str]:
    """What a header claims and the record does not hold; every number of it is looked at."""
    wrong = []
    said = SEEDS.search(claims)
    seeds = [int(seed) for seed in said[1].split(",")] if said else []
    if not seeds or not set(seeds) <= set(entry["seeds"]):
        wrong.append(f"seeds {seeds}: the record has {entry['seeds']}")
        seeds = entry["seeds"]
    rows = [entry["seeds"].index(seed) for seed in seeds]

    def check(what: str, quoted: str, values: list[float], unit: str | None = None) -> None:
        recorded = as_quoted(mean(values[row] for row in rows), quoted, bool(unit))
        if quoted != recorded:
            wrong.append(f"{what} {quoted}: the record has {recorded}")

    for name, quoted, unit, deviation in VALUE.findall(claims):
        values = entry["metrics"].get(name)
        if values is None:
            wrong.append(f"{name}: the record has no such figure")
            continue
        check(name, quoted, values, unit)
        if deviation:
            spread = stdev([values[row] for row in rows]) if len(rows) > 1 else 0.0
            recorded = as_quoted(spread, deviation, bool(unit))
            if deviation != recorded:
                wrong.append(f"{name} ± {deviation}: the record has {recorded}")
    for name, quoted, unit in CURVE.findall(claims):
        values = list(zip(*entry["curves"].get(name, []), strict=True))
        points = quoted.split("; ")
        if len(points) != len(values):
            wrong.append(f"{name}: {len(points)} epochs, the record has {len(values)}")
        for point, value in zip(points, values, strict=False):
            check(f"{name} by epoch", point, list(value), unit)
    for quoted in SECONDS.findall(claims):
        check("seconds", quoted, entry["seconds"])
    if not any(name in claims and cores == entry["cores"] for name, cores in CORES.items()):
        wrong.append(f"the machine: the record is of {entry['cores']} cores")
    rest = claims
    for pattern in (SEEDS, CURVE, VALUE, SECONDS):
        rest = pattern.sub("", rest)
    return wrong + [f"{number}: of what?" for number in re.findall(r"\S*\d\S*", rest)]


@pytest.fixture(scope="module")
def record() -> dict:
    return json.loads(RECORD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_header_agrees_with_the_record(name, record):
    assert name in record, f"make results has not measured {CONFIGS[name]}"
    assert disagreements(measured(CONFIGS[name]), record[name]) == []


@pytest.mark.parametrize("name", CONFIGS)
def test_the_record_is_of_the_command_in_the_header(name, record):
    assert f"#   {record[name]['command']}\n" in CONFIGS[name].read_text(encoding="utf-8")


DOCUMENT = "27.5; 38.9; 41.2; 44.4; 46.4; 47.5; 48.3; 48.7; 49.1; 49.5 %"


@pytest.mark.parametrize("name", ["lesson5_output_relu", "lesson5_no_output_relu"])
def test_lesson_5_quotes_the_document(name):
    assert DOCUMENT in CONFIGS[name].read_text(encoding="utf-8")


def test_the_record_is_of_these_configurations_and_tells_no_path(record):
    assert set(record) == set(CONFIGS)
    text = RECORD.read_text(encoding="utf-8")
    assert len(text) < 30_000
    assert not re.search(r'"[^"]*(?:/home|/work|/tmp|\.\./)[^"]*"', text)


ENTRY = {
    "seeds": [0, 1, 2],
    "cores": 2,
    "seconds": [10.0, 11.0, 12.0],
    "metrics": {"test/accuracy": [0.91, 0.912, 0.914], "least_squares/weights": [3e-5] * 3},
    "curves": {"val/accuracy": [[0.5, 0.6], [0.5, 0.6], [0.5, 0.6]]},
}
CLAIM = (
    "test/accuracy 0.9120 ± 0.0020 (seeds 0, 1, 2), 11 s on two CPU cores; "
    "least_squares/weights 3e-5; val/accuracy by epoch: 50.0; 60.0 %"
)


def test_a_true_claim_is_accepted():
    assert disagreements(CLAIM, ENTRY) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.9120", "0.9130"),
        ("0.0020", "0.0010"),
        ("0, 1, 2", "0, 1"),
        ("0, 1, 2", "0, 1, 3"),
        ("11 s", "10 s"),
        ("two CPU", "one CPU"),
        ("3e-5", "2e-5"),
        ("50.0;", "51.0;"),
        ("50.0; 60.0", "60.0"),
        ("test/accuracy", "test/f1"),
        (" on two", ", 17 of them, on two"),
    ],
)
def test_an_edited_claim_is_caught(old, new):
    assert disagreements(CLAIM.replace(old, new), ENTRY)


# ------------------------------------------------------------------- the program that records


@pytest.fixture
def results(monkeypatch, tmp_path):
    """``benchmarks.results``, which is not installed, with a record of its own."""
    spec = importlib.util.spec_from_file_location("results", ROOT / "benchmarks" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RECORD", tmp_path / "results.json")
    monkeypatch.chdir(tmp_path)  # it changes the working directory
    return module


def test_only_what_was_asked_for_is_measured_again(results, monkeypatch, record):
    before = {"mlp_digits": {"kept": 1}, "a_config_that_is_gone": {}}
    results.RECORD.write_text(json.dumps(before), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["results", "--only", "linear_roller_coaster"])
    results.main()
    after = json.loads(results.RECORD.read_text(encoding="utf-8"))
    assert list(after) == ["linear_roller_coaster", "mlp_digits"]
    assert after["mlp_digits"] == before["mlp_digits"]
    new, old = after["linear_roller_coaster"], record["linear_roller_coaster"]
    assert new.keys() == old.keys()
    assert new["seeds"] == [42]
    [again], [recorded] = (entry["curves"]["train/loss"] for entry in (new, old))
    assert again == pytest.approx(recorded, rel=1e-4)


def test_figures_are_rounded_and_on_one_line(results):
    results.write({"b": {"x": [1 / 3, 2e-9 / 3]}, "a": 7})
    text = results.RECORD.read_text(encoding="utf-8")
    assert text == '{\n "a": 7,\n "b": {\n  "x": [ 0.333333, 6.66667e-10 ]\n }\n}\n'


ROW = re.compile(r"^\| `(configs/\S+)` \| [^|]* \| ([^|]*) \|$", re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/lessons").glob("*.md"))]
ROWS = [
    (page.name, *row) for page in PAGES for row in ROW.findall(page.read_text(encoding="utf-8"))
]


def test_the_readme_has_a_row_for_each_measured_configuration():
    rows = [Path(config).stem for page, config, _ in ROWS if page == "README.md"]
    assert sorted(rows) == sorted(CONFIGS)


@pytest.mark.parametrize(
    ("config", "claims"),
    [row[1:] for row in ROWS],
    ids=[f"{page} {Path(config).stem}" for page, config, _ in ROWS],
)
def test_the_pages_agree_with_the_record(config, claims, record):
    assert (ROOT / config).is_file()
    assert disagreements(claims, record[Path(config).stem]) == []
