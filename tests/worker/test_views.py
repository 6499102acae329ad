"""The two views of a run, and how the time left is told."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hpo.words import printable
from hpo.worker.progress import Running, Snapshot, TrialLine, preparing
from hpo.worker.views import LineView, LiveView, TrialClock, draw, make_view, trial_text

SNAPSHOT = Snapshot(
    study="churn",
    phase="training",
    budget=50,
    complete=6,
    raced_out=4,
    pruned=1,
    failed=1,
    best_value=0.0823,
    best_error=0.0051,
    best_trial=7,
    prior_loss=2.3026,
    finished_here=12,
    seconds=34.0,
    running=(
        Running(trainer=0, trial=12, replicate=3, epoch=41, stop_loss=0.1234),
        Running(trainer=1, trial=13, replicate=0, epoch=0, stop_loss=None),
    ),
)
LINE = TrialLine(
    trial=7,
    state="complete",
    value=0.0823,
    standard_error=0.0051,
    is_best=True,
    seconds=2.34,
    description="250-150 elu",
)


def drawn(snapshot: Snapshot, width: int, seconds_left: float | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(draw(snapshot, seconds_left))
    return console.file.getvalue().splitlines()


def test_a_trial_is_one_line():
    assert trial_text(LINE) == "trial 7 complete: 0.0823 ± 0.0051, 2.3 s, 250-150 elu, new best"
    failed = replace(LINE, state="failed", value=None, is_best=False, reason="a\nb\x1b[0m", description="")
    assert trial_text(failed) == "trial 7 failed: a\\nb\\x1b[0m, 2.3 s"
    assert trial_text(replace(failed, state="pruned")) == "trial 7 pruned, 2.3 s"


def test_how_much_is_prepared_is_shown_where_it_is_drawn_and_steps_alone_in_a_pipe():
    half = preparing("churn", 50, 3.0, "writing the replicates", 0.5)
    assert drawn(half, 80)[0].startswith("churn: preparing data: writing the replicates, 50%")
    stream = io.StringIO()
    view = make_view(stream)
    for snapshot in (preparing("churn", 50, 0.1, "", None), half, replace(half, share=0.75)):
        view.update(snapshot)
    assert stream.getvalue() == "churn: preparing data\nchurn: preparing data: writing the replicates\n"


def test_lines_for_a_pipe():
    stream = io.StringIO()
    view = make_view(stream)
    assert isinstance(view, LineView)
    view.update(replace(SNAPSHOT, phase="preparing data"))
    for _ in range(3):
        view.update(SNAPSHOT)
    view.trial(LINE, SNAPSHOT)
    view.message("careful\x1b[31m")
    view.update(replace(SNAPSHOT, study="price"))
    view.close()
    assert stream.getvalue().splitlines() == [
        "churn: preparing data",
        "churn: training",
        f"12/50 {trial_text(LINE)}",
        "careful\\x1b[31m",
        "price: training",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "kind"), [("xterm-256color", LiveView), ("dumb", LineView)])
def test_a_terminal_gets_a_live_view_if_it_can_show_one(monkeypatch, term, kind):
    monkeypatch.setenv("TERM", term)
    assert isinstance(make_view(Terminal()), kind)


def test_the_live_block_says_how_far_the_run_is():
    text = "\n".join(drawn(SNAPSHOT, 100, seconds_left=107.0))
    for part in (
        "churn: training",
        "12/50 trials, 34 s, 1 min 47 s left",
        "best log loss 0.0823 ± 0.0051 (trial 7), class frequencies alone: 2.3026",
        "6 complete, 4 raced out, 1 pruned, 1 failed",
        "trainer 0  trial 12   replicate 3  epoch 41   loss 0.1234",
    ):
        assert part in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_live_block_fits_and_never_wraps(width):
    many = tuple(replace(SNAPSHOT.running[0], trainer=number) for number in range(64))
    assert max(map(len, drawn(SNAPSHOT, width))) <= width
    assert len(drawn(SNAPSHOT, width)) == 6
    assert len(drawn(replace(SNAPSHOT, running=many), width)) == 13


def test_a_population_is_one_line():
    many = replace(SNAPSHOT, running=(replace(SNAPSHOT.running[0], others=63),))
    assert "trainer 0  trial 12   and 63 more epoch 41   loss 0.1234" in "\n".join(drawn(many, 100))


def test_what_a_trainer_has_not_told_is_left_away():
    assert drawn(SNAPSHOT, 100)[-1] == "trainer 1  trial 13"


def test_before_the_first_result():
    first = Snapshot(study="churn", phase="preparing data", budget=50)
    assert "no result yet" in "\n".join(drawn(first, 80))


def test_the_live_view_leaves_new_bests_failures_and_messages():
    console = Console(file=io.StringIO(), width=100, force_terminal=True, force_interactive=True)
    view = LiveView(console)
    view.update(SNAPSHOT)
    view.trial(LINE, SNAPSHOT)
    view.trial(replace(LINE, trial=8, is_best=False), SNAPSHOT)
    view.trial(replace(LINE, trial=9, is_best=False, state="failed", value=None, reason="diverged"), SNAPSHOT)
    view.message("careful [bold]not markup[/bold]")
    view.close()
    view.close()
    text = console.file.getvalue()
    assert "trial 7 complete" in text
    assert "trial 8" not in text
    assert "trial 9 failed: diverged" in text
    assert "careful [bold]not markup[/bold]" in text


def test_a_view_that_showed_nothing_can_be_closed():
    console = Console(file=io.StringIO(), force_terminal=True)
    LiveView(console).close()
    assert console.file.getvalue() == ""


@given(seconds=st.floats(0.1, 100.0), trials=st.integers(3, 60), start=st.floats(0.0, 50.0))
def test_the_time_left_of_even_trials_is_their_time(seconds, trials, start):
    clock = TrialClock()
    for done in range(trials + 1):
        snapshot = Snapshot(
            study="s",
            phase="training",
            budget=100,
            complete=done,
            finished_here=done,
            seconds=start + done * seconds,
        )
        clock.tell(snapshot)
    assert clock.seconds_left(snapshot) == pytest.approx((100 - trials) * seconds)


def test_the_time_left_forgets_the_slow_beginning_and_waits_for_three_trials():
    clock = TrialClock()
    base = Snapshot(study="s", phase="training", budget=100)
    for done in range(3):
        clock.tell(replace(base, finished_here=done, complete=done, seconds=100.0 * done))
        assert clock.seconds_left(replace(base, complete=done, seconds=100.0 * done)) is None
    for done in range(3, 40):
        last = replace(base, finished_here=done, complete=done, seconds=200.0 + done)
        clock.tell(last)
    assert clock.seconds_left(last) == pytest.approx(61.0)


def test_earlier_runs_do_not_count_as_speed():
    clock = TrialClock()
    resumed = replace(SNAPSHOT, finished_here=0, seconds=5.0)
    clock.tell(resumed)
    assert clock.seconds_left(resumed) is None


@given(st.text(alphabet=st.characters()))
def test_printable_text_is_printable_and_plain_text_is_kept(text):
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")  # raises for surrogates
    assert printable(shown) == shown
