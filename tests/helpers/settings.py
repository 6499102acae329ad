"""What settings may be, for tests that try all of it."""

from hpo.declaration import Settings, settings_of


def choices(group: type[Settings], name: str) -> tuple[str, ...]:
    return next(setting.choices for setting in settings_of(group) if setting.name == name)
