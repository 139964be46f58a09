"""The bench compares like with like, pairs what belongs together, and tells misses."""

import json
import sys

import pytest
import torch
from torchvision.datasets import FashionMNIST

from benchmarks import __main__ as bench
from benchmarks import loops, memory, startup
from benchmarks.clock import StageClock
from benchmarks.group import Group, Row
from benchmarks.groups import GROUPS
from benchmarks.images import draw, unpack
from benchmarks.machine import threads
from benchmarks.network import network, optimizer
from benchmarks.page import PAGE, shown
from benchmarks.program import clock_flags, run_program
from benchmarks.rounds import Rounds, interleave
from benchmarks.table import table
from benchmarks.training import Epoch

# ------------------------------------------------------------------------ rounds and the table


def test_contenders_take_turns_after_one_run_that_does_not_count():
    ran = []

    def contender(name):
        def run():
            ran.append(name)
            return float(len(ran))

        return run

    rounds = interleave({name: contender(name) for name in "ab"}, rounds=2)
    assert "".join(ran) == "ab" + "ab" + "ba"
    assert rounds.seconds == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


# The ratio of the medians would be 1: the slow rounds of the machine hit both.
PAIRED = Rounds({"ours": [1.0, 8.0, 2.0], "theirs": [2.0, 16.0, 2.0]})


def test_a_ratio_is_made_within_a_round():
    ratio = PAIRED.speed("ours", "theirs")
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("row", "median", "reached"),
    [
        (Row("", "ours", "theirs", at_least=2.0), 2.0, "yes"),
        (Row("", "ours", "theirs", at_least=2.01), 2.0, "no"),
        (Row("", "theirs", "ours", at_most=2.0), 2.0, "yes"),
        (Row("", "theirs", "ours", at_most=1.99), 2.0, "no"),
        (Row("", "ours", at_most=2.0), 2.0, "yes"),
        (Row("", "ours", at_most=1.99), 2.0, "no"),
        (Row("", "ours", "theirs"), 2.0, ""),
    ],
)
def test_a_missed_ratio_is_told(row, median, reached):
    measured = row.measured(PAIRED)
    assert measured.median == median
    assert row.reached(measured) == reached


def test_the_table_has_a_line_for_each_pair_that_ran():
    rows = (Row("them", "ours", "theirs", at_least=3), Row("nobody", "ours", "not installed"))
    groups = {"here": Group("of here", rows, None), "elsewhere": Group("elsewhere", rows, None)}
    lines = table({"here": {"seconds": PAIRED.seconds}}, groups).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells == [
        ["**of here**", "", "", "", ""],
        ["them", "2×", "1–2", "≥ 3×", "no"],
    ]


def test_the_page_shows_the_record():
    record = json.loads(bench.RECORD.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert set(record) == set(GROUPS)
    assert shown(page, record, GROUPS) == page
    assert "**a training epoch, batch 64, SGD, against …**" in page
    with pytest.raises(ValueError, match="no place for table"):
        shown(page.replace("<!-- table -->", ""), record, GROUPS)


def test_every_row_is_of_contenders_that_ran():
    record = json.loads(bench.RECORD.read_text(encoding="utf-8"))
    for name, group in GROUPS.items():
        named = {row.own for row in group.rows} | {row.against for row in group.rows} - {None}
        assert named - set(record[name]["seconds"]) <= {"skorch"}, name


# ------------------------------------------------------------------------ like with like


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("images"), (160, 96))


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_the_bare_loop_ends_on_the_weights_of_the_whole_program(name, images, tmp_path):
    epoch = Epoch(images, 64, name)
    run_program(*epoch.command(runs=str(tmp_path)), "--name=run", drawn="/3")
    saved = torch.load(tmp_path / "run/version_0/checkpoints/last.ckpt", weights_only=True)
    ours = [
        value
        for key, value in saved["state_dict"].items()
        if key.startswith(("network.linear", "network.output"))
    ]
    model = network()
    x = images.scaled(standardize=True)
    before = [weight.detach().clone() for weight in model.parameters()]
    loops.bare(model, x, images.y, loops.order(len(x)), 64, optimizer(name, model, fused=True))
    for own, bare, start in zip(ours, model.parameters(), before, strict=True):
        assert torch.equal(own, bare)
        assert not torch.equal(own, start)


def test_the_bar_must_have_been_drawn(images):
    with pytest.raises(RuntimeError, match="train/loss"):
        run_program(*Epoch(images, 64, "SGD").command(), drawn="/4")


def test_the_clock_looks_at_no_batch(tmp_path):
    assert not [name for name in vars(StageClock) if "batch" in name or "step" in name]
    assert any("StageClock" in flag for flag in clock_flags(tmp_path))


def test_random_images_are_what_torchvision_reads(images):
    assert images.source == "random images"
    assert images.nbytes == (160 + 96) * 784
    test = FashionMNIST(images.root, train=False)
    assert torch.equal(test.data, images.x_test)
    assert 20 < images.x.float().std() < 100
    assert set(images.y.tolist()) == set(range(10))


def test_fashion_mnist_is_unpacked(shared_data, tmp_path):
    images = unpack(shared_data, tmp_path)
    assert (images.source, images.nbytes) == ("Fashion-MNIST", 70_000 * 784)
    assert images.y_test[:5].tolist() == [9, 2, 1, 1, 6]


def test_threads_are_set_for_torch_and_given_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_peak_counts_memory_that_is_free_again():
    torch.ones(30_000_000, dtype=torch.uint8)
    memory.reset()
    before = memory.peak()
    torch.ones(60_000_000, dtype=torch.uint8)
    assert 50_000_000 < memory.peak() - before < 80_000_000


# ------------------------------------------------------------------------ the program


def measured(monkeypatch, tmp_path, *only):
    output = tmp_path / "performance.json"
    monkeypatch.setattr(bench, "QUICK", (160, 96))
    arguments = ["--quick", "--threads", "1", "--output", str(output), "--only", *only]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    bench.main()
    return json.loads(output.read_text(encoding="utf-8"))


def test_the_quick_form_measures_what_was_asked_for(monkeypatch, tmp_path, capsys):
    before = PAGE.read_bytes(), bench.RECORD.read_bytes()
    record = measured(monkeypatch, tmp_path, "data_path")
    assert list(record) == ["data_path"]
    assert record["data_path"]["threads"]["torch"] == 1
    assert all(len(seconds) == 1 for seconds in record["data_path"]["seconds"].values())
    assert "DataLoader with ToTensor" in capsys.readouterr().out
    assert (PAGE.read_bytes(), bench.RECORD.read_bytes()) == before


def test_the_quick_form_overwrites_no_record(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "--output" in capsys.readouterr().err


def test_a_flag_that_imports_torch_ends_the_measurement():
    assert startup.output(startup.python(startup.LIGHT.format("--version"))).startswith("lit-")
    heavy = startup.LIGHT.format("--version").replace("'torch' in", "'sys' in")
    with pytest.raises(RuntimeError, match="torch was imported"):
        startup.output(startup.python(heavy))


@pytest.mark.slow
# What Lightning and scikit-learn advise for so few images.
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:Got `batch_size` less than 1 or larger")
@pytest.mark.parametrize("name", GROUPS)
def test_every_group_measures_all_of_its_rows(name, monkeypatch, tmp_path):
    [entry] = measured(monkeypatch, tmp_path, name).values()
    for row in GROUPS[name].rows:
        missing = row.measured(Rounds(entry["seconds"])) is None
        assert not missing or row.against == "skorch"
    assert all(value > 0 for values in entry["seconds"].values() for value in values)
