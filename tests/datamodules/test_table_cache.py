"""Tables held on disk: the same as in memory, made once, and nothing left of what failed."""

import multiprocessing
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
import torch
from lightning.pytorch import Trainer

from lit_course import CSVDataModule, MLPClassifier, raw_table

ROWS = 500


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Read a few rows at a time, as a large table is."""
    monkeypatch.setattr(raw_table, "_VALUES_PER_PIECE", 1)
    monkeypatch.setattr(raw_table, "_MIN_ROWS", 64)


def write(path: Path, rows: int = ROWS) -> Path:
    numbers = torch.randn(rows, generator=torch.Generator().manual_seed(0)).tolist()
    frame = pl.DataFrame(
        {
            "number": [None if i % 7 == 3 else value for i, value in enumerate(numbers)],
            "level": ["?" if i % 11 == 5 else "abc"[i % 3] for i in range(rows)],
            "day": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(rows)],
            "kind": ["yes" if value > 0 else "no" for value in numbers],
        }
    )
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def loaded(path: Path, cache_dir: Path | None, stage: str = "fit", **options) -> CSVDataModule:
    folder = None if cache_dir is None else str(cache_dir)
    data = CSVDataModule(str(path), "kind", cache_dir=folder, batch_size=32, **options)
    data.setup(stage)
    return data


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_batches_are_those_of_a_table_in_memory(tmp_path, name):
    path = write(tmp_path / name)
    on_disk, in_memory = loaded(path, tmp_path / "cache"), loaded(path, None)
    assert on_disk.schema == in_memory.schema
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"):
        pairs = zip(getattr(on_disk, loader)(), getattr(in_memory, loader)(), strict=True)
        for found, expected in pairs:
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])


def test_a_model_learns_the_same(tmp_path):
    path, weights = write(tmp_path / "t.csv"), []
    for cache_dir in (tmp_path / "cache", None):
        torch.manual_seed(0)
        model = MLPClassifier(hidden_features=[8])
        trainer = Trainer(
            max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        trainer.fit(model, datamodule=loaded(path, cache_dir))
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def copies(folder: Path) -> dict[str, int]:
    files = [path for path in folder.iterdir() if path.name != ".lock"]
    return {path.name: path.stat().st_mtime_ns for path in files}


def test_copies_are_made_once_until_the_file_changes(tmp_path):
    path = write(tmp_path / "t.csv")
    loaded(path, tmp_path / "cache")
    first = copies(tmp_path / "cache")
    assert sorted(Path(name).suffix for name in first) == [".npy", ".parquet"]
    loaded(path, tmp_path / "cache")
    assert copies(tmp_path / "cache") == first
    write(path, rows=ROWS + 1)
    assert loaded(path, tmp_path / "cache").split_sizes["train"] == 401
    assert len(copies(tmp_path / "cache")) == 4


def test_what_was_fitted_on_other_rows_has_a_copy_of_its_own(tmp_path):
    path = write(tmp_path / "t.csv")
    for seed in (0, 1):
        on_disk = loaded(path, tmp_path / "cache", seed=seed)
        in_memory = loaded(path, None, seed=seed)
        x, expected = (data._splits["train"].samples.x for data in (on_disk, in_memory))
        assert torch.equal(x, expected)


def test_other_marks_of_what_is_missing_have_a_copy_of_their_own(tmp_path):
    path = write(tmp_path / "t.csv")
    for marks in ([], ["a"]):
        on_disk = loaded(path, tmp_path / "cache", missing_values=marks)
        in_memory = loaded(path, None, missing_values=marks)
        x, expected = (data._splits["train"].samples.x for data in (on_disk, in_memory))
        assert torch.equal(x, expected)


def test_a_copy_that_was_cut_short_is_made_anew(tmp_path):
    path = write(tmp_path / "t.csv")
    loaded(path, tmp_path / "cache")
    (matrix,) = (tmp_path / "cache").glob("*.npy")
    whole = matrix.read_bytes()
    matrix.write_bytes(whole[:-100])
    loaded(path, tmp_path / "cache")
    assert matrix.read_bytes() == whole


def shape(path: Path, cache_dir: Path) -> list[int]:
    return list(loaded(path, cache_dir)._splits["train"].samples.x.shape)


def test_whoever_asks_at_once_shares_one_copy(tmp_path):
    path = write(tmp_path / "t.csv", 5000)
    with ThreadPoolExecutor(4) as pool:
        shapes = list(pool.map(shape, [path] * 8, [tmp_path / "cache"] * 8))
    assert shapes == [[5000, 7]] * 8
    assert len(copies(tmp_path / "cache")) == 2


@contextmanager
def files_of_at_most(nbytes: int):
    """As on a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_full_disk_leaves_nothing_behind(tmp_path, name):
    path = write(tmp_path / name, 5000)
    failed = "cannot be read into .*cache: |File too large"
    with files_of_at_most(20_000), pytest.raises((OSError, ValueError), match=failed):
        loaded(path, tmp_path / "cache")
    assert copies(tmp_path / "cache") == {}


def test_a_value_is_named_by_its_row_in_the_file(tmp_path):
    path = write(tmp_path / "t.csv")
    model = MLPClassifier(hidden_features=[8])
    data = loaded(path, None)
    model.schema = data.schema
    lines = path.read_text().splitlines()
    lines[301] = f"many,{lines[301].split(',', 1)[1]}"
    path.write_text("\n".join(lines) + "\n")
    data = CSVDataModule(str(path), "kind", predict_path=str(path))
    data.known_schema = model.schema
    with pytest.raises(ValueError, match=r"t\.csv: 'number': 'many' in row 301 is not a number"):
        data.setup("predict")


def grown(path: Path, cache_dir: Path | None) -> float:
    """MB of memory of its own that a process takes for a table and an epoch over it."""
    before = anonymous()
    data = loaded(path, cache_dir)
    for _ in data.train_dataloader():
        pass
    return anonymous() - before


def anonymous() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000


@pytest.mark.slow
def test_memory_does_not_grow_with_the_columns(tmp_path):
    rows, width = 400_000, 64
    numbers = {f"x{i}": torch.rand(rows).numpy() for i in range(width)}
    path = tmp_path / "t.parquet"
    pl.DataFrame({**numbers, "kind": [i % 2 for i in range(rows)]}).write_parquet(path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lit_course.datamodules"])
    grew = []
    for cache_dir in (None, tmp_path / "cache", tmp_path / "cache"):
        with context.Pool(1) as pool:
            grew.append(pool.apply(grown, (path, cache_dir)))
    nbytes = rows * width * 4 / 1e6
    assert grew[0] > nbytes
    assert grew[2] < grew[0] - 0.8 * nbytes, grew
