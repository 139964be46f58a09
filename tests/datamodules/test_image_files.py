"""Decoded images beside torchvision's; files that are none, in all the ways there are."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.progress import Progress
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, Grayscale, PILToTensor, Resize

from lit_course.datamodules import image_files
from lit_course.datamodules.image_files import decode

RANDOM = np.random.default_rng(0)
SIZES = [(28, 28), (40, 30), (17, 50), (5, 6), (28, 64), (29, 29)]  # width, height
# What may be behind an extension; not every one keeps its word.
FORMS = [
    *((mode, "PNG", ".png") for mode in ("L", "RGB", "RGBA", "LA", "P", "1")),
    *((mode, "JPEG", ".jpg") for mode in ("L", "RGB", "CMYK")),
    *(("RGB", form, f".{form.lower()}") for form in ("BMP", "TIFF", "PPM", "WEBP")),
    *(("P", "GIF", ".png"), ("RGB", "PNG", ".jpeg")),
]


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    """Smooth enough that JPEG and resizing have something to do, and random."""
    coarse = RANDOM.integers(256, size=(4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(RANDOM.integers(256, size=size[::-1], dtype=np.uint8)))
    return image.convert(mode)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for mode, form, suffix in FORMS:
        folder = root / f"{mode}-{form}{suffix}"
        folder.mkdir()
        for number, size in enumerate(SIZES):
            picture(mode, size).save(folder / f"{number}{suffix}", form)
    return root


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("size", [28, 1, 50])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_image_is_that_of_torchvision(folder, mode, size):
    grey = [Grayscale()] if mode == "L" else []
    transform = Compose([*grey, Resize(size), CenterCrop(size), PILToTensor()])
    reference = ImageFolder(folder, transform)
    images, broken = decode([Path(path) for path, _ in reference.samples], size, mode)
    assert broken == {}
    assert images.dtype == torch.uint8
    assert images.shape == (len(FORMS) * len(SIZES), len(mode), size, size)
    for image, (expected, _), (path, _) in zip(images, reference, reference.samples, strict=True):
        assert torch.equal(image, expected), path
    assert len(images.unique(dim=0)) > len(images) / 4  # they are not all alike


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_images_are_turned_upright(tmp_path, suffix, orientation):
    """What a camera held so has stored; Exif's table of orientations, undone by hand."""
    upright = np.kron(RANDOM.integers(256, size=(4, 4), dtype=np.uint8), np.ones((8, 8), "uint8"))
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (0,), 7: (0, 1), 8: (1,)}
    stored = upright.T if orientation > 4 else upright
    stored = np.flip(stored, flips.get(orientation, ()))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"camera{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=100)
    images, broken = decode([path], 32, "L")
    assert broken == {}
    assert (images[0, 0].int() - torch.from_numpy(upright).int()).abs().max() < 8  # JPEG rounds


def written(form: str, mode: str = "RGB", size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    picture(mode, size).save(buffer, form)
    return buffer.getvalue()


def black(width: int, height: int, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


PNG, JPEG = written("PNG"), written("JPEG")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<html>404 Not Found</html>", "no image that is known"),
        (EPS, "no image that is known"),  # Pillow would start Ghostscript
        (PNG[: len(PNG) // 2], "truncated"),
        (JPEG[: len(JPEG) // 2], "Truncated"),
        (PNG[:600] + bytes([PNG[600] ^ 1]) + PNG[601:], ""),
        (PNG[:30], ""),
        (black(20_000, 20_000, "1"), "exceeds limit of 178956970 pixels"),
        (black(9_000, 9_000, "RGB"), "would take 243,000,000 in memory"),
        (black(1, 1_000_000), "would take 784,000,000 in memory"),  # resized, before it is cut
    ],
    ids=["empty", "html", "eps", "png", "jpeg", "bit", "header", "bomb", "dense", "line"],
)
def test_broken_files_are_left_out_and_named(tmp_path, content, reason):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(PNG)
    bad.write_bytes(content)
    images, broken = decode([bad, good, bad, good, good], 28, "RGB")
    assert broken.keys() == {0, 2}
    assert reason in broken[0]
    assert str(tmp_path) not in broken[0]
    assert 0 < len(broken[0]) <= 100
    assert torch.equal(images, decode([good] * 3, 28, "RGB")[0])


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_values_of_more_than_8_bits_are_not_cut_off(tmp_path, dtype):
    path = tmp_path / "scan.tiff"
    Image.fromarray(np.linspace(0, 4000, 64).reshape(8, 8).astype(dtype)).save(path)
    _, broken = decode([path], 8, "L")
    assert "more than 8 bits" in broken[0]


def test_a_link_that_leads_nowhere(tmp_path):
    path = tmp_path / "a.png"
    path.symlink_to(tmp_path / "gone.png")
    images, broken = decode([path], 4, "L")
    assert broken == {0: "No such file or directory"}
    assert images.shape == (0, 1, 4, 4)


def test_any_number_of_threads(folder, monkeypatch):
    monkeypatch.setattr(image_files, "_BYTES_WORTH_A_THREAD", 0)
    paths = sorted(folder.rglob("*.*"))
    before = torch.get_num_threads()
    one, _ = decode(paths, 8, "RGB")
    torch.set_num_threads(4)
    try:
        assert torch.equal(decode(paths, 8, "RGB")[0], one)
    finally:
        torch.set_num_threads(before)


def test_an_interrupt_does_not_wait_for_all_images(folder, monkeypatch):
    paths = sorted(folder.rglob("*.png")) * 100
    opened = []
    monkeypatch.setattr(Image, "open", lambda file, formats: opened.append(file))

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advance", interrupt)
    with pytest.raises(KeyboardInterrupt):
        decode(paths, 8, "L")
    assert len(opened) < len(paths) / 2
