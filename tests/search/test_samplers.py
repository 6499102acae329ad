"""The proposer: reproducible by slot, aware of pending points."""

import optuna
import pytest
from hpo_spaces import Categorical, Float, LogFloat, MlpSpace, Ordered
from hpo_spaces.mlp import MLP
from hpo_spaces.mlp_strong import MLP_STRONG
from hpo_spaces.mlp_wide import MLP_WIDE
from hpo_storage.records import SHOWN_TRIALS
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.search.samplers import Proposer
from hpo.seeds import integer_seed
from tests.helpers.records import make_outcome, make_replicate


def filled(sampler="tpe", seed=0, trials=20, order=None):
    proposer = Proposer(sampler, seed, MLP)
    for number in order or range(trials):
        params = MLP.decode([(number * step % 17) / 17 for step in range(1, MLP.size + 1)])
        proposer.observe(number, params, make_outcome(1.0 + params["dropout"]))
    return proposer


@given(st.integers(0, 2**32 - 1), st.integers(0, 10_000), st.sampled_from(["tpe", "random"]))
@settings(max_examples=20, deadline=None)
def test_same_seed_and_slot_give_the_same_point(seed, slot, sampler):
    slot += len(MLP.starts)
    first, again = (filled(sampler, seed).propose(slot) for _ in range(2))
    assert first == again
    MLP.architecture(first)
    assert first != filled(sampler, seed).propose(slot + 1)


def test_order_of_observation_does_not_matter():
    assert filled().propose(30) == filled(order=list(range(19, -1, -1))).propose(30)


def test_results_teach_the_sampler():
    proposer = filled(trials=60)
    dropouts = [proposer.propose(slot)["dropout"] for slot in range(60, 75)]
    assert sum(dropouts) / len(dropouts) < 0.2  # the loss grows with dropout; random points average 0.25


def test_pending_points_are_avoided():
    proposer = filled(trials=30)
    free = proposer.propose(40)
    taken = proposer.propose(40, pending=[free])
    assert taken != free


def test_pruned_trials_rank_by_their_loss_and_not_by_how_many_replicates_trained_together():
    proposer = Proposer("tpe", 0, MLP)
    for number, (loss, replicates) in enumerate(((0.5, 1), (2.0, 5))):
        stopped = tuple(make_replicate(i, loss, score_loss=None) for i in range(replicates))
        proposer.observe(number, MLP.decode([0.5] * MLP.size), make_outcome(None, state="pruned", replicates=stopped))
    assert [trial.intermediate_values for trial in proposer._shown.by_number()] == [{0: 0.5}, {0: 2.0}]


def test_pruned_and_failed_trials_are_accepted():
    proposer = filled(trials=12)
    stop = make_replicate(0, 2.0, score_loss=None)
    proposer.observe(12, MLP.decode([0.5] * MLP.size), make_outcome(None, state="pruned", replicates=(stop,)))
    before = filled(trials=12).propose(20)
    proposer.observe(13, MLP.decode([0.2] * MLP.size), make_outcome(None, state="failed", reason="diverged"))
    assert proposer.propose(20).keys() == before.keys()


def test_many_trials_are_thinned():
    proposer = filled(trials=SHOWN_TRIALS + 50)
    shown = proposer._shown.by_number()
    assert len(shown) == SHOWN_TRIALS
    assert min(trial.value for trial in shown) == 1.0


def test_ordered_dimensions_come_back_as_choices():
    space = MlpSpace(
        name="small",
        dimensions=(
            LogFloat("rate", 1e-3, 1.0),
            Ordered("size", (8, 64, 512)),
            Categorical("kind", ("a", "b")),
        ),
        architecture=lambda params: MLP.architecture(MLP.decode([0.5] * MLP.size)),
    )
    proposer = Proposer("tpe", 3, space)
    for number in range(15):
        point = proposer.propose(number)
        assert point["size"] in (8, 64, 512)
        proposer.observe(number, point, make_outcome(point["rate"]))


def test_starting_points_come_first_except_at_random():
    assert [Proposer("tpe", 5, MLP).propose(slot) for slot in range(3)] == list(MLP.starts)
    assert Proposer("random", 5, MLP).propose(0) not in MLP.starts


CONDITIONAL = MlpSpace(
    name="conditional",
    dimensions=(
        Ordered("size", (8, 64, 512)),
        Categorical("kind", ("a", "b")),
        Float("share", 0.0, 1.0, when=("kind", ("b",))),
        Ordered("step", (1, 2, 4), when=("kind", ("b",))),
        LogFloat("rate", 1e-3, 1.0, when=("step", (2, 4))),
    ),
    architecture=lambda params: MLP.architecture(MLP.decode([0.5] * MLP.size)),
)


def studied(space, trials, loss, sampler="tpe", seed=0):
    """A proposer that has observed this many of its own proposals, and these."""
    proposer, points = Proposer(sampler, seed, space), []
    for number in range(trials):
        points.append(proposer.propose(number, pending=points[-2:]))
        proposer.observe(number, points[-1], make_outcome(loss(points[-1])))
    return proposer, points


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_without_conditions_points_are_those_of_optuna_s_own_ask(sampler):
    """All parameters asked for at once, as a study in the past has done: its other points stay the same."""
    proposer = filled(sampler, seed=4, trials=25)
    for slot in range(25, 35):
        seed = integer_seed(4, "sample", slot=slot)
        kind = optuna.samplers.TPESampler if sampler == "tpe" else optuna.samplers.RandomSampler
        study = optuna.create_study(sampler=kind(seed=seed))
        study.add_trials(proposer._shown.by_number())
        assert proposer.propose(slot) == study.ask(MLP.distributions()).params


@pytest.mark.parametrize("space", [CONDITIONAL, MLP_WIDE, MLP_STRONG], ids=lambda space: space.name)
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_points_hold_the_active_dimensions_only(space, sampler, capfd):
    _, points = studied(space, 30, lambda point: 1.0 + len(point), sampler)
    for point in points:
        space.encode(point)  # refuses what is inactive or missing
        space.architecture(point)
    assert len({tuple(point) for point in points}) > 1
    assert capfd.readouterr() == ("", "")


@given(st.integers(0, 2**32 - 1), st.sampled_from(["tpe", "random"]))
@settings(max_examples=5, deadline=None)
def test_conditional_points_are_reproducible(seed, sampler):
    (_, first), (_, again) = (studied(CONDITIONAL, 20, len, sampler, seed) for _ in range(2))
    assert first == again


def test_results_teach_the_sampler_about_conditional_dimensions():
    def loss(point):
        return 1.0 + abs(point.get("share", 5.0) - 0.9)

    proposer, _ = studied(CONDITIONAL, 60, loss)
    points = [proposer.propose(slot) for slot in range(60, 100)]
    shares = [point["share"] for point in points if "share" in point]
    assert len(shares) > 30  # half of random points have one
    assert sum(share > 0.8 for share in shares) > 0.4 * len(shares)  # a fifth of random ones


def test_optuna_is_shown_the_active_parameters_only():
    proposer, points = studied(CONDITIONAL, 12, len)
    for trial, point in zip(proposer._shown.by_number(), points, strict=True):
        assert trial.params.keys() == trial.distributions.keys() == point.keys()
