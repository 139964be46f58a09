"""A run's folder: named, claimed, and found again.

``<runs>/<name>/version_<N>/`` holds ``config.yaml``, ``hparams.yaml``, the event file,
``<verb>_metrics.json``, ``checkpoints/{best,last}.ckpt``, ``figures/`` and ``best/``, the events
of its best numbers.
"""

from __future__ import annotations

from contextlib import suppress
from glob import escape
from pathlib import Path

CHECKPOINTS = "checkpoints"
FIGURES = "figures"
CONFIG = "config.yaml"


def claim(runs: Path, name: str) -> Path:
    """Make the next free ``version_<N>`` of a name.

    Two starts at the same moment get two folders: making a folder either succeeds or fails.

    Raises:
        OSError: If the folder cannot be written.
    """
    parent = runs / name
    parent.mkdir(parents=True, exist_ok=True)
    number = 1 + max((_version(folder) for folder in parent.iterdir()), default=-1)
    while True:
        folder = parent / f"version_{number}"
        try:
            folder.mkdir(parents=True)  # another start may have given an empty parent back
        except FileExistsError:
            number += 1
        else:
            return folder


def _version(folder: Path) -> int:
    prefix, _, number = folder.name.rpartition("_")
    return int(number) if prefix == "version" and number.isdecimal() else -1


def versions(named: Path) -> list[Path]:
    """The runs of a name, the oldest first."""
    return sorted(filter(_is_version, named.iterdir()), key=_version)


def _is_version(folder: Path) -> bool:
    return folder.is_dir() and _version(folder) >= 0


def release(folder: Path) -> None:
    """Give a claimed folder back: a run that trained nothing leaves nothing behind.

    What every start writes is removed, and the folders that are empty then. Whatever else somebody
    put there stays, and all of it if there is a checkpoint.
    """
    if any(folder.glob(f"{CHECKPOINTS}/*")):
        return
    with suppress(OSError):
        for pattern in (CONFIG, "hparams.yaml", "events.out.tfevents.*", f"{FIGURES}/*_step_0.*"):
            for file in folder.glob(pattern):
                file.unlink()
        for empty in (folder / CHECKPOINTS, folder / FIGURES, folder, folder.parent):
            if empty.is_dir():
                empty.rmdir()


def check_links(run: Path) -> None:
    """Refuse a run in which writing a file would follow a link to somewhere else.

    Raises:
        ValueError: Naming the link.
    """
    for folder in filter(Path.is_dir, (run, run / CHECKPOINTS, run / FIGURES)):
        for path in folder.iterdir():
            written = path.suffix == ".part" or path.name == FIGURES or not path.exists()
            if path.is_symlink() and written:
                raise ValueError(f"{path} is a link that a run would write through: remove it")


def run_of(checkpoint: Path) -> Path | None:
    """The run's folder that a checkpoint lies in; None for a file outside of any run."""
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == CHECKPOINTS else None


def checkpoints(runs: Path, name: str | None = None) -> list[Path]:
    """All checkpoints of the runs of a name (of all names), the newest first."""
    found = runs.glob(f"{escape(name) if name else '*'}/version_*/{CHECKPOINTS}/*.ckpt")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def resolve(value: str, runs: Path, name: str | None, prefer: str = "best") -> Path:
    """Find the file that ``--ckpt_path`` means.

    Args:
        value: A file, a run's folder, or ``best`` or ``last`` of the newest run that saved one.
        runs: Where runs are kept.
        name: Whose runs ``best`` and ``last`` look at; None looks at all.
        prefer: Which of a folder's checkpoints is meant: ``best`` to evaluate, ``last`` to go on.

    Raises:
        FileNotFoundError: If there is no such checkpoint; it names the newest ones there are.
    """
    if value in ("best", "last"):
        matches = [path for path in checkpoints(runs, name) if path.stem == value]
        if matches:
            return matches[0]
        where = runs / name if name else runs
        raise FileNotFoundError(f"no {value!r} checkpoint below {where}{newest(runs)}")
    try:
        return checkpoint_of(value, prefer)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{newest(runs)}") from None


def checkpoint_of(path: str | Path, prefer: str = "best") -> Path:
    """Find the file that is meant by a checkpoint or a run's folder.

    Args:
        path: Either of them.
        prefer: Which of a folder's checkpoints is meant, if it is there; the only one of a folder
            with other names.

    Raises:
        FileNotFoundError: If there is none, or if several of other names are there.
    """
    path = Path(path)
    if path.is_dir():
        inside = path if path.name == CHECKPOINTS else path / CHECKPOINTS
        for which in (prefer, "best", "last"):
            if (inside / f"{which}.ckpt").is_file():
                return inside / f"{which}.ckpt"
        others = sorted(inside.glob("*.ckpt"))
        if len(others) == 1:  # a Trainer names it after its epoch
            return others[0]
        if others:
            names = ", ".join(other.name for other in others)
            raise FileNotFoundError(f"the run {path} holds {names}: give one of these files")
        raise FileNotFoundError(f"the run {path} holds no checkpoint")
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint not found: {path}")
    return path


def newest(runs: Path, count: int = 3) -> str:
    """Say which checkpoints are the newest, on a line of its own each."""
    lines = [f"  {path}" for path in checkpoints(runs)[:count]]
    return "\nnewest checkpoints:\n" + "\n".join(lines) if lines else "; there is none yet: run fit"
