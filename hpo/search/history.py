"""The finished trials of a study, as far as this process knows them: its own and those of others."""

from hpo_storage import studies
from hpo_storage.database import Database
from hpo_storage.records import Outcome, Position, StudyProgress, TrialRecord

from hpo.search.incumbent import Leaderboard
from hpo.search.rules import Rules


class History:
    """Takes in what this process finishes, and reads from the database what others do.

    It begins with the results that a search looks at (`hpo.search.kept`), and is then told of each new one once.
    """

    def __init__(self, database: Database, study_id: int, leaderboard: Leaderboard | None = None) -> None:
        """Who only looks on needs no leaderboard of the study's: it is for `rules`."""
        self._database, self._study_id = database, study_id
        self._leaderboard = leaderboard or Leaderboard()
        self._told: set[int] = set()
        self.position: Position | None = None
        self.best: Outcome | TrialRecord | None = None
        self.best_trial: int | None = None

    def look(self) -> tuple[list[TrialRecord], StudyProgress]:
        """Trials that have ended and were not known, taken in now, and how far the study is."""
        look = studies.look(
            self._database,
            self._study_id,
            self.position,
            known=self._told,
            curves=self._leaderboard.compares_curves,
        )
        self.position = look.position
        self._told = {number for number in self._told if not look.position.knows(number)}
        for trial in look.trials:
            self._take(trial.number, trial)
        return look.trials, look.progress

    def add(self, number: int, result: Outcome | TrialRecord) -> bool:
        """Take in a trial that has ended; return whether it was not known."""
        if number in self._told or (self.position is not None and self.position.knows(number)):
            return False
        self._told.add(number)
        self._take(number, result)
        return True

    def rules(self, slot: int) -> Rules:
        """What may cut short the trial of this slot."""
        return self._leaderboard.rules(slot)

    def _take(self, number: int, result: Outcome | TrialRecord) -> None:
        self._leaderboard.add(number, result)
        best = self._leaderboard.best
        if best is not None and best.number == number:
            self.best, self.best_trial = result, number
