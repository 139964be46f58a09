"""Data files of any content: a result or one error of ours, in bounded time and memory.

Hypothesis draws the files; the quick part draws the same ones every time.
"""

import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from tracemalloc import get_traced_memory, start, stop

import numpy as np
import polars as pl
import polars.testing
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lit_course.datamodules import (
    ArrayDataModule,
    CSVDataModule,
    FashionMNISTDataModule,
    SVMLightDataModule,
    fashion_mnist,
)
from lit_course.datamodules.class_folders import ClassFolders
from lit_course.datamodules.expansion import UnsoundFileError
from lit_course.datamodules.image_cache import ImageCache
from lit_course.datamodules.image_files import decode
from lit_course.datamodules.table_files import scan_table


def quick(examples: int):
    health = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=health
    )


def ends_well(work: Callable[[], object]) -> bool:
    """Whether it gave a result; else its error must be one of ours, five lines at most."""
    caught: Exception | None = None
    try:
        work()
    except (ValueError, OSError) as error:
        caught = error
    if caught is not None:
        assert type(caught).__module__ in ("builtins", UnsoundFileError.__module__)
        assert len(str(caught).splitlines()) <= 5
        assert len(str(caught)) < 2000
    return caught is None


@st.composite
def damaged(draw, honest: bytes) -> bytes:
    """An honest file after an accident: bits flipped, bytes replaced, cut, doubled."""
    content = bytearray(honest)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        stop = start + draw(st.sampled_from([1, 1, 2, 4, 16, 200]))
        match draw(st.sampled_from(["flip", "set", "cut", "drop", "double"])):
            case "flip" if start < len(content):
                content[start] ^= 1 << draw(st.integers(0, 7))
            case "set":
                content[start:stop] = draw(st.binary(max_size=8))
            case "cut":
                del content[start:]
            case "drop":
                del content[start:stop]
            case "double":
                content[start:start] = content[start:stop]
    return bytes(content)


TABLE = pl.DataFrame(
    {"a": np.arange(60.0), "b": np.arange(60) % 7, "y": np.arange(60) % 3}, strict=False
)


def written(suffix: str, table: pl.DataFrame = TABLE) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".parquet":
        table.write_parquet(buffer)
    else:
        table.write_csv(buffer, separator="\t" if suffix == ".tsv" else ",")
    return buffer.getvalue()


def load_table(content: bytes, suffix: str, **options: object) -> bool:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"table{suffix}"
        path.write_bytes(content)
        data = CSVDataModule(str(path), "y", **options)
        return ends_well(lambda: data.setup("fit"))


CELLS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.text(max_size=6),
    st.sampled_from(["", " ", "1_0", "0x1", "1e999", "true", '"', "2026-11-21", "١", "\x00"]),
)


@pytest.mark.parametrize("task", ["auto", "classification", "regression"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@quick(25)
@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6), st.sampled_from("\n\r"))
def test_text_of_any_cells(suffix, task, rows, newline):
    separator = "\t" if suffix == ".tsv" else ","
    lines = [["a", "b", "y"], ["1", "2", "0"], ["1", "2", "1"], *rows]
    content = newline.join(separator.join(row) for row in lines)
    load_table(content.encode("utf-8", "surrogatepass"), suffix, task=task)


@quick(40)
@given(st.binary(max_size=300))
def test_text_of_any_bytes(content):
    load_table(content, ".csv")


DAMAGED = {suffix: damaged(written(suffix)) for suffix in (".csv", ".parquet")}


@pytest.mark.parametrize("suffix", DAMAGED)
@pytest.mark.parametrize("examples", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_tables(suffix, examples):
    ended = []

    @quick(examples)
    @given(DAMAGED[suffix])
    def check(content):
        ended.append(load_table(content, suffix))

    check()
    assert any(ended) or suffix == ".parquet"
    assert not all(ended)


def load_ranked(content: bytes) -> bool:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rank.txt"
        path.write_bytes(content)
        path.with_name("rank.txt.query").write_bytes(b"30\n30\n")
        data = SVMLightDataModule(str(path), val_size=1, test_size=0)
        return ends_well(lambda: data.setup("fit"))


TOKENS = st.one_of(CELLS, st.sampled_from(["qid:1", "qid:2", "1:2", "2:3", "#", "qid:", ":", "3:"]))


@quick(40)
@given(st.lists(st.lists(TOKENS, min_size=1, max_size=5), max_size=5), st.sampled_from(" \t\r"))
def test_ranking_data_of_any_words(rows, space):
    good = ["1 qid:a 1:1", "0 qid:a 2:1", "1 qid:b 1:1"]
    content = "\n".join([*good, *(space.join(row) for row in rows)])
    load_ranked(content.encode("utf-8", "surrogatepass"))


ITEMS = [b"%d %%s1:%d 3:0.5 # %d\n" % (i % 3, i, i) for i in range(60)]
RANKED = {
    "qid": b"".join(item % (b"qid:%d " % (i // 6)) for i, item in enumerate(ITEMS)),
    "beside": b"".join(item % b"" for item in ITEMS),
}


@pytest.mark.parametrize("kind", RANKED)
@pytest.mark.parametrize("examples", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_ranking_data(kind, examples):
    ended = []

    @quick(examples)
    @given(damaged(RANKED[kind]))
    def check(content):
        ended.append(load_ranked(content))

    check()
    assert any(ended)
    assert not all(ended)


NUMBERS = {
    pl.Float64: st.floats(width=64),
    pl.Float32: st.floats(width=32),
    pl.Int64: st.integers(-(2**63), 2**63 - 1),
    pl.UInt8: st.integers(0, 255),
    pl.Boolean: st.booleans(),
}


@st.composite
def tables(draw) -> pl.DataFrame:
    height = draw(st.integers(1, 8))
    dtypes = draw(st.lists(st.sampled_from(list(NUMBERS)), min_size=1, max_size=5))
    names = draw(
        st.lists(
            st.text(min_size=1, max_size=8), min_size=len(dtypes), max_size=len(dtypes), unique=True
        )
    )
    columns = [draw(st.lists(NUMBERS[d], min_size=height, max_size=height)) for d in dtypes]
    return pl.DataFrame(
        [pl.Series(n, c, d) for n, c, d in zip(names, columns, dtypes, strict=True)]
    )


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@quick(60)
@given(tables())
def test_a_written_table_is_read_back(suffix, table):
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"t{suffix}"
        path.write_bytes(written(suffix, table))
        scanned = scan_table(str(path))
        read = pl.DataFrame([scanned.column(name) for name in scanned.columns])
    if suffix == ".parquet":
        polars.testing.assert_frame_equal(read, table)
        return
    assert read.columns == table.columns
    for name in table.columns:  # text does not say how wide a number was
        assert read[name].cast(table[name].dtype).equals(table[name], null_equal=True) or (
            table[name].dtype.is_float() and read[name].cast(table[name].dtype).is_nan().any()
        )


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


X, Y = np.arange(120, dtype="float32").reshape(40, 3), np.arange(40) % 2
HONEST_NPZ = npz(X=X, y=Y)


def load_npz(content: bytes) -> bool:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        path.write_bytes(content)
        return ends_well(lambda: ArrayDataModule(str(path)).setup("fit"))


@pytest.mark.parametrize("examples", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_arrays(examples):
    @quick(examples)
    @given(damaged(HONEST_NPZ))
    def check(content):
        load_npz(content)

    assert load_npz(HONEST_NPZ)
    check()


def with_header(header: bytes) -> bytes:
    """An .npz whose X has this header; all sums are right."""
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(480)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(HONEST_NPZ)) as old, zipfile.ZipFile(buffer, "w") as new:
        new.writestr("X.npy", member)
        new.writestr("y.npy", old.read("y.npy"))
    return buffer.getvalue()


HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (40, 3), }\n"


@quick(100)
@given(st.one_of(damaged(HEADER), st.binary(max_size=60)))
def test_headers_of_arrays(header):
    load_npz(with_header(header))


@pytest.mark.parametrize(
    "header",
    [
        HEADER.replace(b"(40, 3)", b"(1000000000000, 3)"),
        HEADER.replace(b"(40, 3)", b"(-1, 3)"),
        HEADER.replace(b"<f4", b"|O"),
        HEADER.replace(b"(40, 3)", b"(" * 4000),
        HEADER.replace(b"(40, 3)", b"__import__('os').abort()"),
        HEADER.replace(b"'<f4'", b"[('a', '<f4')]"),
    ],
)
def test_a_header_that_lies(header):
    assert not load_npz(with_header(header))


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_bomb_is_not_unpacked(suffix, tmp_path):
    path = tmp_path / f"bomb{suffix}"
    zeros = np.zeros(40_000_000, dtype="float64" if suffix == ".parquet" else "uint8")
    if suffix == ".npz":
        path.write_bytes(npz(X=np.zeros((200_000_000, 1), dtype="uint8"), y=zeros[:10]))
        data = ArrayDataModule(str(path))
    else:
        pl.DataFrame({"a": zeros, "y": zeros}).write_parquet(path)
        data = CSVDataModule(str(path), "y")
    start()
    with pytest.raises(ValueError, match=rf"bomb{suffix} has .* bytes and would take"):
        data.setup("fit")
    _, peak = get_traced_memory()
    stop()
    assert peak < 50e6


SIZES = {"train-images": 784 * 30, "train-labels": 30, "t10k-images": 784 * 10, "t10k-labels": 10}


@pytest.mark.filterwarnings("ignore:.* have no training row")
@quick(40)
@given(st.data(), st.booleans(), st.booleans())
def test_idx_files_of_any_content(data, packed, known):
    """Also if it had the right sums: what is behind them does not trust the content."""
    contents = {
        name: data.draw(
            st.one_of(st.binary(max_size=60), st.integers(0, 255).map(lambda b: bytes([b]))), name
        )
        for name in fashion_mnist.CONTENTS
    }
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        raw = Path(folder) / "FashionMNIST/raw"
        raw.mkdir(parents=True)
        for name, start_ in contents.items():
            size = SIZES[name.partition("-idx")[0]] + (16 if "images" in name else 8)
            content = (start_ * size)[:size] if start_ else bytes(size)
            if known:
                digest = hashlib.sha256(content).hexdigest()
                patch.setitem(fashion_mnist.CONTENTS, name, (size, digest))
            if packed:
                (raw / f"{name}.gz").write_bytes(gzip.compress(content, 1))
            else:
                (raw / name).write_bytes(content)
        module = FashionMNISTDataModule(folder, download=False, val_size=5)
        ended = ends_well(lambda: (module.prepare_data(), module.setup("fit")))
        assert known or not ended


@quick(40)
@given(damaged(gzip.compress(bytes(30 + 8), mtime=0)))
def test_damaged_packed_idx_files(content):
    name = "train-labels-idx1-ubyte"
    honest = bytes(38)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        digest = hashlib.sha256(honest).hexdigest()
        patch.setitem(fashion_mnist.CONTENTS, name, (38, digest))
        raw = Path(folder) / "FashionMNIST/raw"
        raw.mkdir(parents=True)
        (raw / f"{name}.gz").write_bytes(content)
        module = FashionMNISTDataModule(folder, download=False)

        def read() -> None:
            assert torch.equal(module._read(name, 8), torch.zeros(30, dtype=torch.uint8))

        ends_well(read)


def written_image(form: str) -> bytes:
    buffer = io.BytesIO()
    gradient = np.indices((16, 16)).sum(0).astype("uint8") * 8
    Image.fromarray(gradient).convert("RGB").save(buffer, form)
    return buffer.getvalue()


HONEST_IMAGES = {
    form: written_image(form) for form in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "PPM", "WEBP")
}


@pytest.mark.parametrize("form", HONEST_IMAGES)
@pytest.mark.parametrize("examples", [30, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_images(form, examples):
    """An image of the right size, or one line that says why not; named like any other."""
    ended = []

    @quick(examples)
    @given(damaged(HONEST_IMAGES[form]))
    def check(content):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "image.png"
            path.write_bytes(content)
            images, broken = decode([path], 8, "RGB")
        assert images.shape == (1 - len(broken), 3, 8, 8)
        assert all(0 < len(reason) <= 100 and "\n" not in reason for reason in broken.values())
        ended.append(not broken)

    check()
    assert any(ended)
    assert not all(ended)


@pytest.mark.parametrize("examples", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_caches(examples, tmp_path):
    """None, or what was written."""
    (tmp_path / "root").mkdir()
    images = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).reshape(2, 3, 8, 8)
    files = ClassFolders(
        tmp_path / "root", ["a", "b"], ["a.png", "b.png", "c.png"], [0, 1, 1], None
    )
    cache = ImageCache.of(files, 8, "RGB")
    cache.write(images, {1: "broken"})

    @quick(examples)
    @given(damaged(cache.path.read_bytes()))
    def check(content):
        cache.path.write_bytes(content)
        found = cache.read()
        assert found is None or torch.equal(found[0], images)

    assert cache.read() is not None
    check()
