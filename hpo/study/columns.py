"""Columns of tables of trials: some are fixed, and each parameter has one."""

from collections.abc import Collection

PREFIX = "params_"


def parameter_columns(names: Collection[str], fixed: Collection[str]) -> dict[str, str]:
    """The column of each parameter: its own name, with `PREFIX` before it where a fixed column is called so."""
    columns = {name: name for name in names if name not in fixed}
    for name in names:
        if name in fixed:
            column = PREFIX + name
            while column in fixed or column in columns.values():
                column = PREFIX + column
            columns[name] = column
    return {name: columns[name] for name in names}
