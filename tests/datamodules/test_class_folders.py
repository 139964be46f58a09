"""Which files are images of which class: as torchvision has it, or refused by name."""

import pytest
from torchvision.datasets import ImageFolder

from lit_course.datamodules.class_folders import find_class_folders


@pytest.fixture
def put(tmp_path):
    """Make files below ``root``; which images they hold is not looked at here."""

    def make(*names: str):
        for name in names:
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.touch()
            else:
                path.mkdir()
        return tmp_path / "root"

    return make


FLAT = (
    *("rose/b.png", "rose/a.JPG", "rose/deep/er/z.webp", "rose/notes.txt", "rose/.hidden.png"),
    *("Aster/1.tiff", "Aster/10.png", "Aster/2.png", ".odd/x.png", "aside.png", "ünder/é.png"),
)


def test_files_order_and_classes_are_those_of_torchvision(put):
    root = put(*FLAT)
    found = find_class_folders(root)
    reference = ImageFolder(root)
    assert [str(root / name) for name in found.names] == [path for path, _ in reference.samples]
    assert found.labels == reference.targets
    assert found.classes == reference.classes == [".odd", "Aster", "rose", "ünder"]
    assert found.splits is None


def test_splits_in_folders_of_their_own(put):
    root = put("train/a/1.png", "train/b/1.png", "test/b/9.png", ".git/config.png", "train/c/1.png")
    (root / "val/a").mkdir(parents=True)
    found = find_class_folders(root)
    assert found.classes == ["a", "b", "c"]
    assert found.names == ["train/a/1.png", "train/b/1.png", "train/c/1.png", "test/b/9.png"]
    assert found.labels == [0, 1, 2, 1]
    assert found.rows("train") == [0, 1, 2]
    assert (found.rows("val"), found.rows("test")) == ([], [3])
    fewer = found.without({1, 3})
    assert (fewer.names, fewer.labels) == (["train/a/1.png", "train/c/1.png"], [0, 2])
    assert fewer.splits == ["train", "train"]
    assert fewer.classes == found.classes


def test_a_class_may_be_called_train(put):
    found = find_class_folders(put("bus/1.png", "train/1.png", "val/1.png"))
    assert found.classes == ["bus", "train", "val"]
    assert found.splits is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "No folder .*root"),
        (("1.png", "2.png"), "No class folder in .*root: put each image into a folder"),
        (("rose/1.png",), "root has one class folder, 'rose', and at least 2 are needed"),
        (("train/rose/1.png", "val"), "train has one class folder, 'rose'"),
        (("rose/1.png", "tulip/notes.txt"), "no valid file for the classes tulip. Supported"),
        (("train/a/1.png", "train/b"), "no valid file for the classes b"),
        (
            ("train/a/1.png", "train/b/1.png", "val/c/1.png", "val/d/1.png"),
            "val has class folders that .*train lacks: 'c', 'd'",
        ),
        (("train/a/1.png", "train/b/1.png", "valid/a/1.png"), "and beside it 'valid': splits are"),
        (("val/a/1.png", "test/a/1.png"), "has a folder 'val' of classes, but no 'train'"),
        (("train", "val/a/1.png"), "No class folder in .*train"),
    ],
)
def test_refused(put, names, message):
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        find_class_folders(put(*names) if names else put("x/y.png").parent / "no/root")


def test_a_file_is_no_root(put):
    with pytest.raises(NotADirectoryError, match=r"1\.png is a file"):
        find_class_folders(put("a/1.png") / "a/1.png")
