"""The finished trials of a study, as far as this process knows them: its own and those of others."""

from hpo_storage import studies
from hpo_storage.database import Database
from hpo_storage.records import Outcome, TrialRecord

from hpo.search.incumbent import Leaderboard
from hpo.search.rules import Rules


class History:
    """Takes in what this process finishes, and reads from the database what others do."""

    def __init__(self, database: Database, study_id: int, leaderboard: Leaderboard | None = None) -> None:
        """Who only looks on needs no leaderboard of the study's: it is for `rules`."""
        self._database, self._study_id = database, study_id
        self._leaderboard = leaderboard or Leaderboard()
        self._known: set[int] = set()
        self._after = -1
        self.best: Outcome | TrialRecord | None = None
        self.best_trial: int | None = None

    def news(self) -> list[TrialRecord]:
        """Trials that have ended and were not known, taken in now."""
        ended, self._after = studies.finished_since(
            self._database,
            self._study_id,
            self._after,
            known=self._known,
            curves=self._leaderboard.compares_curves,
        )
        return [trial for trial in ended if self.add(trial.number, trial)]

    def add(self, number: int, result: Outcome | TrialRecord) -> bool:
        """Take in a trial that has ended; return whether it was not known."""
        if number in self._known:
            return False
        self._known.add(number)
        self._leaderboard.add(number, result)
        best = self._leaderboard.best
        if best is not None and best.number == number:
            self.best, self.best_trial = result, number
        return True

    def rules(self, slot: int) -> Rules:
        """What may cut short the trial of this slot."""
        return self._leaderboard.rules(slot)
