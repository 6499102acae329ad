"""The command init: a study file for a table."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo.cli.data import DataFile, of_a_table, study_name, target_fields, understood
from hpo.cli.options import NewStudyName
from hpo.cli.output import write_text
from hpo.cli.settings import with_settings
from hpo.errors import StudyError, written
from hpo.settings import SETTINGS

Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the study file goes.")]


@with_settings(setting for name, setting in SETTINGS.items() if name != "data")
def init(
    file: DataFile,
    output: Output = Path("study.toml"),
    study: NewStudyName = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    **settings: Any,  # noqa: ANN401 - options of all settings but the table
) -> int:
    """Write a commented study file for a table, which `hpo run` takes: what is given, and all else as a comment."""
    from hpo.settings import asked
    from hpo.study.draft import draft
    from hpo.study.study_file import TOML

    given = asked(settings)
    if output.suffix != ".toml":
        raise StudyError(f"a study file has a name that ends in .toml, got {str(output)!r}; choose such a name")
    if output.exists() and not force:
        raise StudyError(f"{str(output)!r} is there already; choose another --output, or overwrite it with --force")
    about = {setting.name for setting in of_a_table()}
    found = understood(file, {name: value for name, value in given.items() if name in about})
    given["data"] = _from(output, file)
    given.pop("data_url", None)  # it may hold a password
    given.setdefault("target", "target")  # of a built-in set
    lines = [f"{title}: {text}" for title, text in {"table": file, **target_fields(found)}.items()]
    lines += [f"not used: {name}, {reason}" for name, reason in found.left_out.items()]
    lines += [written(note, TOML) for note in found.notes]
    try:
        output.write_text(draft(study or study_name(file), given, lines), "utf-8")
    except OSError as error:
        raise StudyError(
            f"the study file could not be written to {str(output)!r} ({error.strerror}); choose another --output"
        ) from None
    write_text(f"{output} is written; look at it, then: hpo run {output}")
    return 0


def _from(output: Path, file: str) -> str:
    """The table as the study file names it: a relative path leads from where that lies."""
    if not Path(file).exists() or Path(file).is_absolute():
        return file
    return os.path.relpath(file, output.parent)
