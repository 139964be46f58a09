"""``lit-course init``: the configurations of the package as files of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from lit_course.messages import UsageError

USAGE = "usage: lit-course init DIR   copies configurations into DIR/configs; overwrites nothing"
README = """\
# Configurations of lit_course

One complete run a file; its first lines say what it does and the command that starts it:

    lit-course fit --config configs/mlp_digits.yaml
"""


def init(args: Sequence[str]) -> None:
    """Copy the configurations into ``DIR/configs``.

    Args:
        args: What follows ``init`` on the command line.

    Raises:
        UsageError: If that is not one folder, or a file is there already; nothing is written then.
        OSError: If the folder cannot be written; what was begun is removed.
    """
    if "--help" in args or "-h" in args:
        print(USAGE)
        return
    if len(args) != 1 or not args[0] or args[0].startswith("-"):
        raise UsageError(f"init takes one folder, found {' '.join(args) or 'none'}\n{USAGE}")
    folder = Path(args[0]) / "configs"
    texts = {folder / "README.md": README, **_configurations(folder)}
    for path in texts:
        for above in path.parents:
            if above.exists() and not above.is_dir():
                raise UsageError(f"{above} is no folder: nothing was written")
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists: nothing was written, give another folder")
    _write(texts)
    print(f"{len(texts) - 1} configurations in {folder}; in {args[0]}, begin with:")
    print("  lit-course fit --config configs/mlp_digits.yaml")


def _configurations(folder: Path) -> dict[Path, str]:
    """From where each configuration goes to its text."""

    def found(place: Traversable, goal: Path) -> dict[Path, str]:
        texts: dict[Path, str] = {}
        for item in sorted(place.iterdir(), key=lambda item: item.name):
            if item.is_dir():
                texts |= found(item, goal / item.name)
            elif item.name.endswith(".yaml"):
                texts[goal / item.name] = item.read_text(encoding="utf-8")
        return texts

    return found(files("lit_course") / "configs", folder)


def _write(texts: dict[Path, str]) -> None:
    written: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except BaseException:
        for path in written:
            path.unlink()
        raise
