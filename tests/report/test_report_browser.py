"""The page in a real Chromium: no errors, no sideways scrolling, nothing loaded, plots and sorting that work."""

import pytest

from hpo.report.figures import FIGURES
from hpo.report.page import write_plot, write_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDTHS = (390, 1600)


@pytest.fixture(scope="module")
def browser(chromium):
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'hpo[dev]'")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open a page and return it with the errors and the requests that it made."""
    contexts = []

    def visit(path, width=1600, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        problems, requests = [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: requests.append(request.url))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.goto(path.as_uri())
        page.wait_for_function("Array.from(document.querySelectorAll('.plot')).every((p) => p.dataset.drawn)")
        return page, problems, requests

    yield visit
    for context in contexts:
        context.close()


def assert_fits(page):
    """No sideways scrolling on a phone or a wide screen."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)  # plots follow the window after a moment
        assert page.evaluate("window.innerWidth") == width
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("count", [0, 1, 300])
def test_pages_fit_and_draw(visit, make, tmp_path, count):
    study = make.study(make.trials(make.states(count)), budget=max(1, count))
    path = write_report(study, tmp_path / "report.html")
    page, problems, requests = visit(path, 390)
    assert_fits(page)
    assert problems == []
    assert requests == [path.as_uri()]
    drawn = [name for name in FIGURES if page.locator(f"#plot-{name} .main-svg").count()]
    assert drawn == [name for name in FIGURES if FIGURES[name](study).data]


def test_a_study_that_failed_altogether(visit, make, tmp_path):
    study = make.study(make.trials(["failed"] * 8))
    page, problems, _ = visit(write_report(study, tmp_path / "report.html"), 390)
    assert_fits(page)
    assert problems == []
    assert page.locator("#answer").inner_text().startswith("All 8 trials failed")


def test_script_is_shown_and_never_run(visit, evil_study, evil, tmp_path):
    """Fault 39, also in plotly's labels."""
    page, problems, requests = visit(write_report(evil_study, tmp_path / "report.html"), 390)
    assert_fits(page)
    assert problems == []
    assert len(requests) == 1
    assert page.evaluate("window.pwned") is None
    assert page.locator("h1").inner_text() == evil[1]
    for plot in ("slice", "parallel"):
        shown = page.locator(f"#plot-{plot} svg text").all_text_contents()
        for text in evil:
            assert text in shown or text[:39] + "…" in shown


def test_trials_are_sorted_by_a_click(visit, mixed, tmp_path):
    page, _, _ = visit(write_report(mixed, tmp_path / "report.html"))
    header = page.locator("#trials th", has_text="log loss")
    ranked = sorted((t.value, str(t.number)) for t in mixed.trials if t.value is not None)
    for order in (ranked, ranked[::-1]):
        header.locator("button").click()
        shown = page.locator("#trials tbody tr td:first-child").all_inner_texts()
        assert shown[: len(order)] == [number for _, number in order]
        assert len(shown) == len(mixed.trials)
    assert header.get_attribute("aria-sort") == "descending"


def test_slices_stand_in_one_column_on_a_phone(visit, mixed, tmp_path):
    path = write_plot(mixed, "slice", tmp_path / "plot.html")
    page, _, _ = visit(path, 390)
    rows = "document.querySelector('.plot').layout.grid.rows"
    assert page.evaluate(rows) == 6
    page.set_viewport_size({"width": 1600, "height": 900})
    page.wait_for_function(f"{rows} === 2")


def test_plots_follow_the_colour_scheme(visit, mixed, tmp_path):
    path = write_plot(mixed, "history", tmp_path / "plot.html")
    page, problems, _ = visit(path, scheme="dark")
    colour = "document.querySelector('.plot').layout.font.color"
    dark = page.evaluate(colour)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"{colour} !== '{dark}'")
    assert problems == []
