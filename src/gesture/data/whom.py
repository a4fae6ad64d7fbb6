"""What a split tells: what was done about identical images, whom its test speaks of, and what a run has seen."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gesture.config.names import PARTS
from gesture.config.schema import SplitConfig
from gesture.data.prepare import Data
from gesture.data.samples import UNKNOWN, Indices, Samples
from gesture.data.splits import crossing, would_cross


@dataclass(frozen=True)
class Seen:
    """What a run has seen of the images that test it, told by their pixels, whatever their paths are now."""

    trained_on: frozenset[str]
    """Paths of those that it trained on."""
    validated_on: frozenset[str]
    people: frozenset[str]
    """Those of the test whose images it trained on."""
    knows_images: bool
    """Whether all other images are new; False where the run's own are not there any more as they were."""
    knows_people: bool
    """Whether all other people are new."""


def seen(asked: Data, own: Data | None, is_own: bool, fingerprint: str | None, trained: Collection[str]) -> Seen:
    """Find again what a run has seen of a test.

    A name is a person of the run's where the data set is its own, or where one of its images shows that person.

    Args:
        asked: the images whose `test` part is asked about.
        own: the run's images with its split; None where they cannot be read.
        is_own: whether `asked` is said to be the run's data set.
        fingerprint: of the run's data set when it trained.
        trained: the people whose images it trained on.
    """
    names = _names(asked.samples)
    has_own_people = is_own or asked.fingerprint == fingerprint
    knows_images = own is not None and (is_own or own.fingerprint == fingerprint)
    people = set(trained) if has_own_people else _recognised(asked, own, trained)
    return Seen(
        trained_on=frozenset(asked.samples.paths[row] for row in _found_again(asked, own, "train")),
        validated_on=frozenset(asked.samples.paths[row] for row in _found_again(asked, own, "val")),
        people=frozenset(people & {names[row] for row in asked.split.test} - {""}),
        knows_images=knows_images,
        knows_people=knows_images or has_own_people,
    )


def _found_again(asked: Data, own: Data | None, part: str) -> list[int]:
    """The rows of the test whose pixels are an image's of a part of the run's."""
    if own is None:
        return []
    known = {own.digests[row] for row in own.split[part]}
    return [row for row in asked.split.test.tolist() if asked.digests[row] in known]


def _recognised(asked: Data, own: Data | None, trained: Collection[str]) -> set[str]:
    """The people of a test of other data who share an image with somebody who trained.

    Where people of the run's share an image among them, the one of the same name is meant.
    """
    if own is None:
        return set()
    names = _names(asked.samples)
    if not own.samples.knows_subjects:
        return {names[row] for row in _found_again(asked, own, "train")}
    owners: dict[str, set[str]] = {}
    for digest, name in zip(own.digests, _names(own.samples), strict=True):
        owners.setdefault(digest, set()).add(name)
    found = set()
    for row in asked.split.test.tolist():
        shown = owners.get(asked.digests[row], set())
        if not (shown & {names[row]} or shown).isdisjoint(trained):
            found.add(names[row])
    return found


def _names(samples: Samples) -> list[str]:
    """[N] whose image each is; empty where that is not known."""
    return ["" if person == UNKNOWN else samples.subject_names[person] for person in samples.subjects]


def describe_split(config: SplitConfig, data: Data) -> dict[str, Any]:
    """The `split` entry of result.json: what was done about identical images, and whom the test tells about."""
    return {
        "name": config.name,
        "seed": config.seed,
        "keeps_copies_together": config.keeps_copies_together,
        "identical_images_that_would_have_crossed": would_cross(config, data.samples, data.copies),
        "identical_images_that_crossed": crossing(data.split, data.copies),
        "subjects": {part: _people(data.samples, data.split[part]) for part in PARTS},
        "note": _note(data),
    }


def _note(data: Data) -> str:
    """Whom the test figures tell about, in one line."""
    people, trained = _people(data.samples, data.split.test), _people(data.samples, data.split.train)
    return whom(people, [person for person in people if person in trained])


def whom(people: Sequence[str], seen_in_training: Sequence[str], knows_others: bool = True) -> str:
    """Whom figures tell about, in one line: the people of a test, those of them who trained, and if the others did."""
    seen, count = len(seen_in_training), len(people)
    if not count:
        return "It is not known whose images these are: people of the test may have been seen in training."
    if seen and count > 1:
        some = f"All {count}" if seen == count else f"{seen} of the {count}"
        were = "was" if seen == 1 else "were"
        return f"{some} people of the test {were} seen in training: this says little about others."
    if seen:
        return "The one person of the test was seen in training: this says little about others."
    if not knows_others:
        return "It is not known whether people of the test were seen in training."
    whom = "The one person of the test was not" if count == 1 else f"None of the {count} people of the test was"
    return f"{whom} seen in training."


def _people(samples: Samples, rows: Indices) -> list[str]:
    return [samples.subject_names[i] for i in np.unique(samples.subjects[rows])] if samples.knows_subjects else []
