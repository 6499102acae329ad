"""The page: what it says in every state of a study, that it is safe and that it needs no network."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import hpo.report.page
from hpo.cli.errors import CommandLine
from hpo.data.spec import DataSpec
from hpo.errors import InputError, do
from hpo.report.answer import answer, heading, next_command, progress
from hpo.report.figures import FIGURES
from hpo.report.page import write_plot, write_report
from hpo.settings import EvaluationSpec
from hpo.study.standing import winner

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Texts, attributes and the balance of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.open, self._text = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self._text.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self._text))


@pytest.fixture
def page(tmp_path):
    def write(study, **options):
        return Page(write_report(study, tmp_path / "report.html", **options).read_text("utf-8"))

    return write


def test_a_finished_study(mixed, page):
    written = page(mixed)
    best = winner(mixed)
    assert f"Winner: trial {best.number}" in written.text
    assert f"{best.value:.4f} ± {best.standard_error:.4f} nats" in written.text
    assert "Predicting class frequencies alone gives 2.3020" in written.text
    assert f"batch size {2 ** best.params['batch_exponent']}" in written.text
    assert "batch exponent" not in written.text
    assert f"{best.info['parameters']:,}" in written.text
    assert "40 of 40 trials done" in written.text
    assert "3 constant columns were dropped" in written.text
    assert "keras 3.15.1" in written.text
    assert written.open == []
    ids = {value for _, name, value in written.attributes if name == "id"}
    assert {f"plot-{name}" for name in FIGURES} <= ids


def test_the_values_of_the_head(mixed):
    best, shown = winner(mixed), answer(mixed)
    assert heading(mixed).about == "digits, target target · 1,797 rows · 64 features · 10 classes"
    assert shown.over == f"Winner: trial {best.number}"
    assert (shown.value, shown.unit) == (f"{best.value:.4f}", f"± {best.standard_error:.4f} nats")
    assert shown.parameters["weights"] == f"{best.info['parameters']:,}"
    assert progress(mixed).done == "40 of 40"
    assert sum(progress(mixed).states.values()) == 40


def test_markup_is_written_in_templates_alone():
    """Fault 39: they escape every text; plotly's own tags are `br` and `extra`."""
    folder = Path(hpo.report.page.__file__).parent
    for path in folder.glob("*.py"):
        assert not re.findall(r"</?(?!br>|extra>)[a-z]\w*[^<>\n]*>", path.read_text("utf-8")), path.name
    for path in (folder / "templates").glob("*.html"):
        assert not re.findall(r"\|\s*safe|autoescape", path.read_text("utf-8")), path.name


def test_every_trial_has_a_row(make, page):
    study = make.study(make.trials(make.states(300)))
    assert page(study).tags.count("tr") == 1 + 300 + (1 + 5 + 2)


def test_a_page_of_300_trials_is_hardly_larger_than_plotly(make, tmp_path):
    study = make.study(make.trials(make.states(300)))
    assert write_report(study, tmp_path / "r.html").stat().st_size < 6_500_000


@pytest.mark.parametrize(
    ("states", "running", "budget", "texts"),
    [
        ([], False, 50, ["No result yet", "0 of 50 trials done", "Importances need 10 complete trials"]),
        (["running"], True, 50, ["No result yet", "1 running", "hpo.open_study('mlp')"]),
        (["complete"], False, 1, ["Winner: trial 0", "1 of 1 trials done"]),
        (["complete", "failed"], False, 9, ["Best so far: trial 0", "1 failed", "7 to do", "Resume"]),
        (["failed"], False, 1, ["The one trial failed", "the loss is not finite in epoch 3 (1 trial)"]),
        (["failed"] * 3, False, 3, ["All 3 trials failed", "(3 trials)", "hpo.open_study('mlp').trials_frame()"]),
        (["raced out", "pruned"], False, 9, ["No winner yet", "1 raced out", "1 pruned"]),
        (["complete", "raced out"], False, 2, ["~ ", "raced out after 2 of 5 replicates"]),
    ],
)
def test_what_is_said_of_other_studies(make, page, states, running, budget, texts):
    written = page(make.study(make.trials(states), running=running, budget=budget))
    for text in texts:
        assert text in written.text


def test_repeated_attempts_are_mentioned(make, page):
    trials = [make.trial(0, "interrupted"), make.trial(1, slot=0, attempt=2)]
    assert "1 attempt broke off and was repeated" in page(make.study(trials, budget=1)).text


def test_a_winner_no_better_than_guessing_is_called_that(make, page):
    assert "the winner is no better" in page(make.study([make.trial(0, value=2.5)])).text


def test_stopping_on_the_scored_rows_is_called_optimistic(make, page):
    spec = make.spec(evaluation=EvaluationSpec(stop_on="score"))
    assert "this is optimistic" in page(make.study([make.trial(0)], spec=spec)).text
    assert "this is optimistic" not in page(make.study([make.trial(0)])).text


def test_one_replicate_has_no_standard_error(make, page):
    single = make.trial(0, replicates=make.trial(0).replicates[:1], standard_error=None)
    text = page(make.study([single], facts={"replicates": 1})).text
    assert "over 1 replicate, scored" in text
    assert "with its standard error" not in text


def test_little_known_data_is_no_error(make, page):
    assert "Data" in page(make.study([], facts={"replicates": 5}, environment={})).text


def test_next_commands(make):
    done, open_ = make.study([make.trial(0)]), make.study([make.trial(0)], budget=5)
    frame = make.spec(data=DataSpec(kind="frame", source="frame", target="it's"))
    assert next_command(done)[0] == do("run", "mlp", trials=2)
    assert next_command(open_)[0] == do("run", "mlp")
    assert next_command(replace(open_, running=True))[0] == do("status", "mlp")
    assert next_command(replace(done, spec=frame))[0] == ("hpo.tune(frame, target=\"it's\", study='mlp', trials=2)")


def test_what_to_do_next_is_written_for_who_asked(mixed, page):
    assert "hpo.tune(..., study='mlp', trials=80)" in page(mixed).text
    assert (
        "hpo run --study mlp --trials 80 --storage '<x>.db'" in page(mixed, face=CommandLine("sqlite:///<x>.db")).text
    )


def test_script_anywhere_is_shown_as_text(evil_study, evil, page):
    """Fault 39."""
    written = page(evil_study)
    assert written.open == []
    assert not {"b", "i", "img"} & set(written.tags)
    assert written.tags.count("script") == len(FIGURES) + 2
    for text in evil:
        assert text in written.text
    assert not [name for _, name, _ in written.attributes if name.startswith("on")]


def test_figures_hold_no_markup_of_users(evil_study, page):
    """Fault 39: neither for the HTML parser nor for plotly, which reads tags in labels."""
    data = [script for script in page(evil_study).scripts if script.startswith('{"data"')]
    assert len(data) == len(FIGURES)
    for script in data:
        assert "<" not in script
        figure = json.loads(script)
        for dimension in figure["data"][0].get("dimensions", ()):
            dimension.pop("ticktext", None)  # plotly shows these as they are
        assert not [text for text in strings(figure) if re.search("<(?!br>|/?extra>)", text)]


def strings(value):
    """All strings in a JSON value."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(item)


def test_nothing_is_loaded_from_elsewhere(mixed, page):
    written = page(mixed)
    assert not {"link", "img", "iframe", "object", "base", "form"} & set(written.tags)
    assert not [a for a in written.attributes if a[1] in ("src", "href", "srcset", "action")]
    policy = next(value for tag, name, value in written.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    assert "'unsafe-inline'" not in policy.split(";")[1]


def test_plotly_is_there_once(mixed, tmp_path):
    html = write_report(mixed, tmp_path / "report.html").read_text("utf-8")
    assert len(re.findall(r"plotly\.js v\d", html)) == 1


def test_writing_replaces_a_file_and_leaves_nothing_beside_it(mixed, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(mixed, path) == path
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_where_writing_fails(mixed, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(mixed, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(mixed, tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        write_report(mixed, tmp_path / "missing" / "report.html")


def test_a_lone_surrogate_is_written_as_its_escape(make, page):
    study = make.study([make.trial(0, "failed", reason="bad \udc80 byte")])
    assert r"bad \udc80 byte" in page(study).text


@pytest.mark.parametrize("name", FIGURES)
def test_a_single_plot(mixed, tmp_path, name):
    written = Page(write_plot(mixed, name, tmp_path / "plot.html").read_text("utf-8"))
    assert [value for _, key, value in written.attributes if key == "id" and value.endswith("figure")] == [
        f"plot-{name}-figure"
    ]


def test_a_plot_without_data_says_why(make, tmp_path):
    written = Page(write_plot(make.study([], budget=3), "slice", tmp_path / "plot.html").read_text("utf-8"))
    assert "No trial has a value yet." in written.text


def test_an_unknown_plot_is_refused(mixed, tmp_path):
    with pytest.raises(InputError, match=r"a plot must be one of history, curves, .*, got 'pie'; choose one"):
        write_plot(mixed, "pie", tmp_path / "plot.html")
    assert list(tmp_path.iterdir()) == []
