"""Settings that are added to others, which the command line would refuse as given twice."""

from collections.abc import Iterable


def last_wins(words: Iterable[str]) -> list[str]:
    """The words, each setting as it was given last."""
    latest = {word.partition("=")[0]: word for word in words}
    return list(latest.values())
