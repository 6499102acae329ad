"""Write what hpo depends on, read from pyproject.toml: `requirements.py FILE EXTRAS`, EXTRAS with commas between."""

import sys
import tomllib
from pathlib import Path
from typing import Any

NOT_IN_IMAGES = "dev"


def requirements(project: dict[str, Any], extras: list[str]) -> list[str]:
    """Requirements of the project and of its extras; SystemExit where there is no such extra."""
    optional = {name: listed for name, listed in project["optional-dependencies"].items() if name != NOT_IN_IMAGES}
    for extra in extras:
        if extra not in optional:
            sys.exit(f"EXTRAS must be of {', '.join(optional)}, got {extra!r}; change the build argument")
    return [*project["dependencies"], *(requirement for extra in extras for requirement in optional[extra])]


if __name__ == "__main__":
    path, extras = sys.argv[1:]
    project = tomllib.loads(Path(path).read_text("utf-8"))["project"]
    named = [extra.strip() for extra in extras.split(",") if extra.strip()]
    sys.stdout.write("\n".join(requirements(project, named)) + "\n")
