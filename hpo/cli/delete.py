"""The command delete."""

from typing import Annotated

import typer

from hpo.cli.errors import NO_RESULT
from hpo.cli.options import Storage, StudyName, opened
from hpo.cli.output import write_text
from hpo.words import count_text


def delete(
    study: StudyName,
    storage: Storage = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete a study with all its trials. Asks first; refuses while the study is running."""
    from hpo_storage.studies import read_study

    from hpo.errors import StudyRunningError
    from hpo.study import lifecycle

    with opened(storage) as database:
        record = read_study(database, study)
        if record.running:  # before a question whose answer could change nothing
            raise StudyRunningError(
                f"a study can be deleted when nothing works on it, and {study!r} is running; stop it"
            )
        question = f"Delete {study} with its {count_text(len(record.trials), 'trial')}?"
        if not yes and not typer.confirm(question, err=True):
            write_text("nothing was deleted")
            return NO_RESULT
        lifecycle.delete(database, study)
    write_text(f"{study} is deleted")
    return 0
