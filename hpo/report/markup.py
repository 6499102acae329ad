"""The page's templates, under `templates/`: they show values, and escape every text on its way in (fault 39)."""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **values: object) -> str:
    """A template with its values filled in."""
    return _environment().get_template(template).render(values)


def asset(name: str) -> Markup:
    """A style sheet or script of the page, which is no text of users."""
    return Markup((files("hpo.report") / "templates" / name).read_text("utf-8"))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("hpo.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
