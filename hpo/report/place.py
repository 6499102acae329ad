"""Where a page may be written. Light: commands ask before they work."""

import os
from os import PathLike
from pathlib import Path

from hpo.errors import InputError, use
from hpo.words import shown


def page_path(place: object, setting: str) -> Path:
    """The path of an HTML file that can be written; InputError, about the setting, where it cannot."""
    if not isinstance(place, str | PathLike):
        raise InputError(
            f"{use(setting)} must be the path of an HTML file, got {shown(place)}; give one", setting=setting
        )
    path = Path(place)
    rule = f"{use(setting)} must name"
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{rule} an HTML file, got {shown(str(path))}; end it with .html", setting=setting)
    try:
        is_place = path.parent.is_dir() and not path.is_dir() and "\0" not in path.name
    except (OSError, ValueError):  # a name that no file could have
        is_place = False
    if not is_place:
        raise InputError(
            f"{rule} a file in a folder that exists, got {shown(str(path))}; create the folder first", setting=setting
        )
    if not os.access(path.parent, os.W_OK):
        raise InputError(
            f"{rule} a file that can be written, got {shown(str(path))}; choose another folder", setting=setting
        )
    return path
