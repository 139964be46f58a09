"""A cache is what was decoded, or it is none."""

import fcntl
import json
import os
import struct

import pytest
import torch

from lit_course.datamodules.class_folders import ClassFolders
from lit_course.datamodules.image_cache import ImageCache

NAMES = ["a/1.png", "a/2.png", "b/1.png"]
IMAGES = torch.arange(3 * 3 * 4 * 4, dtype=torch.uint8).reshape(3, 3, 4, 4)


@pytest.fixture
def files(tmp_path) -> ClassFolders:
    for name in NAMES:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, (1, 1))
    return ClassFolders(tmp_path / "root", ["a", "b"], NAMES, [0, 0, 1], None)


@pytest.fixture
def cache(files) -> ImageCache:
    cache = ImageCache.of(files, 4, "RGB")
    cache.write(IMAGES, {})
    return cache


def test_what_was_written_is_read(cache, files, tmp_path):
    images, broken = cache.read()
    assert torch.equal(images, IMAGES)
    assert broken == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "root.4x4-RGB.safetensors"]
    cache.write(IMAGES[1:], {0: "ünlesbar"})
    images, broken = ImageCache.of(files, 4, "RGB").read()
    assert torch.equal(images, IMAGES[1:])
    assert broken == {0: "ünlesbar"}


def test_the_layout_is_that_of_safetensors(cache):
    """Its format: 8 bytes of the header's length, JSON, and from there the offsets."""
    content = cache.path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert (8 + length) % 8 == 0
    assert content[8:9] == b"{"
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__")
    assert all(isinstance(text, str) for text in metadata.values())
    images = {"dtype": "U8", "shape": [3, 3, 4, 4], "data_offsets": [0, 144]}
    assert header == {"images": images}
    assert content[8 + length :] == IMAGES.numpy().tobytes()


def test_changed_files_have_another_key(files, cache):
    def now(size: int = 4, mode: str = "RGB", names: list[str] = NAMES) -> ImageCache:
        listed = ClassFolders(files.root, files.classes, names, files.labels, None)
        return ImageCache.of(listed, size, mode)

    assert now() == cache
    keys = {cache.key, now(size=5).key, now(mode="L").key, now(names=NAMES[1:]).key}
    keys.add(now(names=[NAMES[0], NAMES[1], "b/2.png"]).key)
    path = files.root / NAMES[1]
    os.utime(path, (1, 2))
    keys.add(now().key)
    path.write_text("larger than before")
    os.utime(path, (1, 1))
    keys.add(now().key)
    path.unlink()
    path.symlink_to("nowhere")
    keys.add(now().key)
    assert len(keys) == 8
    assert now().read() is None
    assert now(size=5).path != cache.path != now(mode="L").path


def test_every_damage_is_noticed(cache):
    content = cache.path.read_bytes()
    last = len(content) - IMAGES.nbytes
    for place in range(len(content)):
        cache.path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        found = cache.read()
        # A bit of the padding or of a name that nobody reads may be another.
        assert found is None or (place < last and torch.equal(found[0], IMAGES))
    for length in range(0, len(content), 7):
        cache.path.write_bytes(content[:length])
        assert cache.read() is None
    cache.path.write_bytes(struct.pack("<Q", 2**40) + b"[" * 100_000)
    assert cache.read() is None
    cache.path.unlink()
    assert cache.read() is None


def test_a_mapped_cache_survives_its_successor(cache):
    images, _ = cache.read()
    cache.write(IMAGES + 1, {})
    assert torch.equal(images, IMAGES)
    assert torch.equal(cache.read()[0], IMAGES + 1)


def test_two_do_not_write_at_once(cache):
    partial = cache.path.with_name(cache.path.name + ".part")
    with partial.open("wb") as other:
        other.write(b"half")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            cache.write(IMAGES + 1, {})
        assert partial.read_bytes() == b"half"
    cache.write(IMAGES + 1, {})  # it was killed: what it left is overwritten
    assert torch.equal(cache.read()[0], IMAGES + 1)
    assert not partial.exists()


def test_nothing_is_written_through_a_link(cache, tmp_path):
    other = tmp_path / "other"
    other.write_text("untouched")
    cache.path.with_name(cache.path.name + ".part").symlink_to(other)
    with pytest.raises(OSError, match="symbolic link"):
        cache.write(IMAGES, {})
    assert other.read_text() == "untouched"


def test_a_failed_write_leaves_the_old_file(cache, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        cache.write(IMAGES + 1, {})
    assert list(cache.path.parent.glob("*.part")) == []
    assert torch.equal(cache.read()[0], IMAGES)
