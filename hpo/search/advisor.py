"""Asking for points and telling what came of them, for anybody with trials to run: workers, a service, a script.

advisor = Advisor(database, study_id, worker_id, space, search, leaderboard)
while claim := advisor.ask():
    advisor.tell(claim, outcome_of(claim.params))
"""

from dataclasses import replace

from hpo_spaces import SearchSpace
from hpo_storage import slots
from hpo_storage.database import Database
from hpo_storage.failpoints import failpoint
from hpo_storage.records import Outcome, StudyProgress, TrialState
from hpo_storage.slots import Claim
from hpo_storage.timing import LEASE_SECONDS

from hpo.search.history import History
from hpo.search.incumbent import Leaderboard
from hpo.search.samplers import Proposer
from hpo.settings import SearchSpec


class Advisor:
    """Claims a study's open slots with points to try, and learns from all that is told, by whomever.

    Its methods raise StorageAwayError while the database does not answer, and may then be called again. A claim is
    held for so many seconds; who needs longer renews it (`hpo_storage.workers.beat`).
    """

    def __init__(
        self,
        database: Database,
        study_id: int,
        worker_id: str,
        space: SearchSpace,
        search: SearchSpec,
        leaderboard: Leaderboard,
        *,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._database, self._study_id, self._worker_id = database, study_id, worker_id
        self._lease_seconds = lease_seconds
        self._distributions = space.distributions()
        self._proposer = Proposer(search.sampler, search.seed, space)
        self.history = History(database, study_id, leaderboard)
        self.look()

    def look(self) -> None:
        """See how far the study is, and learn from what others have finished."""
        self._in_vain = False
        news, progress = self.history.look()
        self.progress: StudyProgress = progress
        for trial in news:
            self._proposer.observe(trial.number, trial.params, trial)

    @property
    def may_offer(self) -> bool:
        """Whether a slot may be open for this worker; after an answer of none not before the next look."""
        return self.progress.open > 0 and not self._in_vain

    def ask(self, trainer: int = 0, *, untried: bool = False) -> Claim | None:
        """Claim the next open slot, with the point to try; None where nothing is to be had now.

        With `untried` only one at which no attempt has failed.
        """
        claim = slots.claim(
            self._database,
            self._study_id,
            self._worker_id,
            lambda offer: self._proposer.propose(offer.slot, offer.pending),
            self._distributions,
            trainer=trainer,
            lease_seconds=self._lease_seconds,
            untried=untried,
            position=self.history.position,
        )
        if claim is None:
            self._in_vain = not untried
            return None
        failpoint("after_claim")
        self.progress = replace(self.progress, open=self.progress.open - 1, claimed=self.progress.claimed + 1)
        return claim

    def tell(self, claim: Claim, outcome: Outcome) -> bool:
        """Record how a trial ended, once, and learn from it; return whether it is the best so far.

        LeaseLostError where the slot was given to another attempt.
        """
        slots.finish(self._database, claim, outcome)
        failpoint("after_tell")
        if self.history.add(claim.number, outcome):  # or else a look has counted it: the first answer got lost
            self.progress = self.progress.after(outcome.state)
            self._proposer.observe(claim.number, claim.params, outcome)
        return self.history.best is outcome

    def give_back(self, claim: Claim, reason: str | None, *, counts: bool) -> bool:
        """Return a claim without a result, as a failed attempt where it `counts`; whether its slot is open again.

        LeaseLostError where the slot was given to another attempt.
        """
        is_open = slots.release(self._database, claim, reason, counts=counts)
        self.progress = self.progress.after(None if is_open else TrialState.FAILED)
        return is_open
