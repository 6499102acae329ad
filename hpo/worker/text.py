"""Foreign text as a terminal may show it."""


def printable(text: str) -> str:
    """Return `text` with control characters, line ends and surrogates as their escapes: `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
