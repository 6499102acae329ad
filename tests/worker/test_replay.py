"""What a replay compares: the losses of the weights that were kept, whatever the curve does beside them."""

import pytest

from hpo.worker.replay import Replay, _compared
from tests.helpers.records import make_outcome, make_replicate, make_trial

SLOWLY = (1.0, 0.5, 0.4995)
"""The last epoch is better by less than an improvement: early stopping keeps the weights of the second."""


def replayed(state, stored, new):
    value = 0.5 if state in ("complete", "raced out") else None
    trial = make_trial(0, value, state=state, replicates=(stored,))
    return Replay(trial=trial, backend="tensorflow", losses=tuple(_compared(trial, make_outcome(replicates=(new,)))))


@pytest.mark.parametrize("state", ["complete", "raced out", "failed"])
def test_a_later_epoch_that_is_hardly_better_is_no_difference(state):
    stored = make_replicate(0, 0.5, curve=SLOWLY, best_epoch=1)
    assert replayed(state, stored, stored).same


def test_a_training_that_was_cut_short_goes_on_now():
    stored = make_replicate(0, 0.5, score_loss=None, curve=SLOWLY, best_epoch=1)
    now = make_replicate(0, 0.2, score_loss=0.25, curve=(*SLOWLY, 0.2), best_epoch=3)
    (stop,) = replayed("pruned", stored, now).losses
    assert (stop.loss, stop.new) == ("stop", 0.5)
    other = make_replicate(0, 0.2, score_loss=0.25, curve=(1.0, 0.6, 0.4995, 0.2), best_epoch=3)
    assert not replayed("pruned", stored, other).same


def test_other_weights_that_were_kept_are_a_difference():
    stored = make_replicate(0, 0.5, curve=SLOWLY, best_epoch=1)
    now = make_replicate(0, 0.4995, curve=SLOWLY, best_epoch=2)
    assert [one.loss for one in replayed("complete", stored, now).losses if one.difference > 0] == ["stop", "score"]
    assert not replayed("complete", stored, now).same
