"""What the documents name exists: links, files, modules, commands with their options, make targets."""

import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from hpo.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "RESULTS.md",
]
FOLDERS = ("hpo", "search_spaces", "storage", "tests", "benchmarks", "docs", "deploy")
FILE_NAMES = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")}
COMMANDS = typer.main.get_command(app)
ENDS_A_COMMAND = ("|", "&", "&&", ";", ">", ">>")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = ("", "sh", "bash", "console")
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./*-]*")
FILE_NAME = re.compile(r"\w+\.py")
MODULE = re.compile(r"(?:hpo|hpo_spaces|hpo_storage)(?:\.[a-zA-Z]\w*)+(?=\(|$)")
PLACEHOLDER = re.compile(r"NAME")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def inline(text: str) -> list[str]:
    """What stands in single backticks outside of code blocks."""
    return INLINE.findall(FENCE.sub("", text))


def shell_lines(text: str) -> list[str]:
    """Lines of shell: those of shell blocks, and whatever stands in backticks."""
    blocks = "".join(body for language, body in FENCE.findall(text) if language in SHELL)
    return [*blocks.replace("\\\n", " ").splitlines(), *inline(text)]


def words(line: str) -> list[str]:
    """A line's words as a shell reads them; none where it would not, as for a lone apostrophe."""
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []


def calls(line: str, program: str) -> Iterator[list[str]]:
    """The arguments of each call of `program` in a line, up to the end of that call."""
    given = words(line)
    for place, word in enumerate(given):
        if word == program:
            arguments = given[place + 1 :]
            end = next((n for n, argument in enumerate(arguments) if argument in ENDS_A_COMMAND), None)
            yield arguments[:end]


def options(arguments: list[str]) -> set[str]:
    return {argument.split("=")[0] for argument in arguments if argument.startswith("--")}


def options_of(command) -> set[str]:
    return {"--help"} | {name for p in command.params for name in (*p.opts, *p.secondary_opts)}


def unknown(arguments: list[str]) -> list[str]:
    """What `hpo` would not know of these arguments: the command, or options of it."""
    command = COMMANDS
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        if arguments[0] not in command.commands:
            return arguments[:1]
        command, arguments = command.commands[arguments[0]], arguments[1:]
    completion = {"--install-completion", "--show-completion"}
    return sorted(options(arguments) - options_of(command) - completion)


def is_a_command(arguments: list[str]) -> bool:
    """Not so after `import hpo`, `--tag hpo .` or in `hpo COMMAND`."""
    return bool(arguments) and re.fullmatch(r"--[a-z-]+|[a-z]+", arguments[0]) is not None


@pages
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            other = (page.parent / path) if path else page
            assert other.exists(), target
            assert not anchor or anchor in anchors(other), target


@pages
def test_files_and_modules_exist(page):
    for code in inline(page.read_text(encoding="utf-8")):
        if PLACEHOLDER.search(code):
            continue
        if PATH.fullmatch(code):
            assert any(ROOT.glob(code)), code
        elif FILE_NAME.fullmatch(code):
            assert code in FILE_NAMES, code
        elif code != "hpo.db" and (module := MODULE.match(code)):
            assert pkgutil.resolve_name(module[0]), code


@pages
def test_commands_exist_with_their_options(page):
    for line in shell_lines(page.read_text(encoding="utf-8")):
        for arguments in calls(line, "hpo"):
            if is_a_command(arguments):
                assert not unknown(arguments), line


@pages
def test_make_targets_exist(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in shell_lines(page.read_text(encoding="utf-8")):
        for arguments in calls(line, "make"):
            assert set(arguments) <= set(targets), line


@pages
def test_benchmarks_take_the_options_shown(page):
    shared = (ROOT / "benchmarks" / "points.py").read_text(encoding="utf-8")
    for line in shell_lines(page.read_text(encoding="utf-8")):
        for program in re.findall(r"python (benchmarks/\w+\.py)", line):
            source = (ROOT / program).read_text(encoding="utf-8") + shared
            shown = options(line.replace("[", "").replace("]", "").split())
            assert all(f'"{option}"' in source for option in shown), line


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("hpo run --study x --trials=5 | cat --number", []),
        ("HPO_STORAGE=x hpo worker --once    # --not-an-option", []),
        ("docker compose run --rm hpo db check --storage x", []),
        ("hpo --version", []),
        ("hpo tune --study x", ["tune"]),
        ("hpo db downgrade", ["downgrade"]),
        ("hpo run --study x --budget 5", ["--budget"]),
    ],
)
def test_the_reading_of_commands(line, wrong):
    ((*_, found),) = [[unknown(arguments) for arguments in calls(line, "hpo")]]
    assert found == wrong


def test_the_reading_of_other_lines():
    for line in ("import hpo", "docker build --tag hpo .", "hpo COMMAND --help", "pip install hpo"):
        assert not any(is_a_command(arguments) for arguments in calls(line, "hpo")), line
