"""What ends a command before its end, and the names that somebody may have meant."""

import difflib
from collections.abc import Sequence

LIKE = 0.6
"""How alike two words must be, 0 to 1, for the one to be offered for the other."""


class ConfigError(Exception):
    """A refusal: one sentence to the person at the keyboard that names the thing, the fault and the remedy."""


class RunFailed(Exception):
    """A run failed, and its log and record say why."""


class Crossed(Exception):
    """A strict audit found what stands on several sides of a split: one sentence that says what."""


class Diverged(Exception):
    """The end of a training whose loss is no finite number any more: one sentence that says where and what helps."""


def nearest(word: str, names: Sequence[str], most: int = 5) -> str:
    """The names most like a word: "did you mean a, b?"; all of them, or the first ones, where none is like it."""
    if close := [name for name in ranked(word, names) if likeness(word, name) >= LIKE][:most]:
        return f"did you mean {', '.join(close)}?"
    more = f" ... ({len(names)} in all)" if len(names) > 2 * most else ""
    return f"choose one of {', '.join(names[: 2 * most])}{more}."


def ranked(word: str, names: Sequence[str]) -> list[str]:
    """The names, those most like the word first."""
    return sorted(names, key=lambda name: likeness(word, name), reverse=True)


def likeness(word: str, name: str) -> float:
    """0 to 1; the last part of a dotted name counts as the whole, and a part of it nearly so (`epochs`, `lr`)."""
    word, name = word.lower(), name.lower()
    last_word, last = word.rpartition(".")[2], name.rpartition(".")[2]
    within = 0.9 if last_word in last.split("_") else 0.0
    same_last = 0.95 * difflib.SequenceMatcher(None, last_word, last).ratio()
    return max(difflib.SequenceMatcher(None, word, name).ratio(), same_last, within)
