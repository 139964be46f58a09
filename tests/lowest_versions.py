"""Print the lowest version of each dependency that pyproject.toml allows, as pip's constraints."""

import re
import tomllib
from pathlib import Path


def lowest(requirements: list[str]) -> list[str]:
    """``name>=1.2,<3`` becomes ``name==1.2``; one without a lower bound is a fault.

    >>> lowest(["jsonargparse[signatures]>=4.49,<5"])
    ['jsonargparse==4.49']
    """
    found = []
    for requirement in requirements:
        name, bound = re.fullmatch(r"([\w-]+)(?:\[.*\])?>=([\d.]+)(?:,.*)?", requirement).groups()
        found.append(f"{name}=={bound}")
    return found


if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    print("\n".join(lowest(project["project"]["dependencies"])))
