"""An objective of a user's own, asked with care: it may raise, print, end or return anything."""

import json
from collections.abc import Callable
from typing import Any

from hpo.errors import InputError, StudyError, TrialError
from hpo.objectives.base import Objective
from hpo.usercode import PATIENCE_SECONDS, contained, said

_JSON = {"define", "prepare"}
"""What must return a dict that JSON can store; of an order the session sees to it."""


class OwnObjective:
    """Stands for an objective called `name`; StudyError for what goes wrong in it unexpectedly."""

    def __init__(self, name: str, objective: Objective) -> None:
        self._name, self._objective = name, objective

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - as the objective has it
        value = getattr(self._objective, attribute)
        if not callable(value):
            return value
        return lambda *args, **keywords: self._ask(attribute, lambda: value(*args, **keywords))

    def _ask(self, method: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the method returns
        prepares = method == "prepare"  # meanwhile the run is shown, and it may take its time
        try:
            with contained(
                f"{method} of the objective {self._name}",
                descriptors=not prepares,
                patience=None if prepares else PATIENCE_SECONDS,
            ):
                answer = call()
            if method in _JSON and not (prepares and answer is None):  # who prepares nothing has no facts
                _check_json(answer)
        except (InputError, TrialError):
            raise
        except Exception as error:
            raise StudyError(
                f"an objective's {method} must work, got {said(error)} from {self._name!r}; correct it",
                setting="objective",
            ) from error
        if method == "cost_of" and callable(answer):
            return lambda result: self._ask("cost", lambda: answer(result))
        return answer


def _check_json(answer: object) -> None:
    if not isinstance(answer, dict):
        raise TypeError(f"a dict must be returned, got {answer!r:.200}")
    json.dumps(answer, allow_nan=False)
