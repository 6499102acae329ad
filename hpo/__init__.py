"""Tuning of Keras MLPs on tabular data. What is exported here is loaded when it is first used, errors aside."""

import sys

# `python -m hpo...` would look for all that is imported from here on in the current folder first.
if (
    not sys.flags.safe_path
    and getattr(sys, "argv", [])[:1] == ["-m"]
    and sys.orig_argv[-len(sys.argv)].removeprefix("-m").partition(".")[0] == "hpo"
):
    del sys.path[0]

from typing import TYPE_CHECKING

from hpo import errors

if TYPE_CHECKING:
    from hpo.api import (
        Best,
        Study,
        backup,
        create_study,
        delete_study,
        extend_study,
        limit_study,
        open_study,
        retry_study,
        tune,
        upgrade,
    )

    __version__: str

__all__ = [
    "Best",
    "Study",
    "__version__",
    "backup",
    "create_study",
    "delete_study",
    "errors",
    "extend_study",
    "limit_study",
    "open_study",
    "retry_study",
    "tune",
    "upgrade",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("hpo")
    if name in __all__:
        from hpo import api

        return getattr(api, name)
    raise AttributeError(f"module 'hpo' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
