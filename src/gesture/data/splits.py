"""Who trains, who validates, who tests: pure functions of the table, the settings and a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gesture.config import ConfigError, SplitConfig
from gesture.data.samples import Indices, Samples

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Disjoint, sorted row numbers of a table of samples."""

    train: Indices
    val: Indices
    test: Indices
    left_out: Indices
    """Copies of images on another side, used nowhere."""

    def __getitem__(self, part: str) -> Indices:
        rows: Indices = getattr(self, part)
        return rows


def make_split(config: SplitConfig, samples: Samples, copies: Indices) -> Split:
    """The split a configuration asks for.

    Raises:
        ConfigError: the data do not allow it, for instance too few people, or a part would be empty.
    """
    split = _without_copies_kept(config, samples, copies)
    if config.name != "random" and config.keeps_copies_together:
        split = leave_copies_out(split, copies)
    for part in PARTS:
        if len(split[part]) == 0:
            raise ConfigError(
                f"split={config.name} leaves no image to {part} out of {len(samples)}: change the split.* settings."
            )
    return split


def would_cross(config: SplitConfig, samples: Samples, copies: Indices) -> int:
    """How many images the same split would put beside an identical one on another side, were copies not looked at."""
    return crossing(_without_copies_kept(config, samples, None), copies)


def _without_copies_kept(config: SplitConfig, samples: Samples, copies: Indices | None) -> Split:
    """The split before copies across people are left out; random splits keep copies together themselves."""
    if config.name == "random":
        assert config.val_fraction is not None
        assert config.test_fraction is not None
        together = copies if config.keeps_copies_together else None
        return random_split(len(samples), together, config.val_fraction, config.test_fraction, config.seed)
    if not samples.knows_subjects:
        raise ConfigError(
            f"split={config.name} needs to know whose images are whose: give data.pattern='(?P<subject>...)'."
        )
    if config.name == "subject":
        return subject_split(samples, config.val_subjects, config.test_subjects, config.seed)
    assert config.folds is not None
    assert config.fold is not None
    return subject_folds(samples, config.folds, config.fold, config.seed)


def random_split(size: int, copies: Indices | None, val_fraction: float, test_fraction: float, seed: int) -> Split:
    """A seeded shuffle, cut by the fractions; with `copies` [size] whole groups of identical images are dealt.

    Sizes are exact as long as single images are left to fill up with: 20,000 images give 16,000, 2,000 and 2,000.
    """
    groups = np.arange(size) if copies is None else copies
    _, group_of_row, group_sizes = np.unique(groups, return_inverse=True, return_counts=True)
    room = {"test": round(size * test_fraction), "val": round(size * val_fraction)}
    side = np.full(len(group_sizes), PARTS.index("train"))
    for group in np.random.default_rng(seed).permutation(len(group_sizes)):
        for part, left in room.items():
            if group_sizes[group] <= left:
                side[group] = PARTS.index(part)
                room[part] -= int(group_sizes[group])
                break
    return _by_side(side[group_of_row])


def subject_split(
    samples: Samples, val_subjects: Sequence[str] | None, test_subjects: Sequence[str] | None, seed: int
) -> Split:
    """Whole people validate and test; those not named are a tenth of all people each, at least one, by seed.

    Raises:
        ConfigError: an unknown person, one on two sides, or nobody left to train on.
    """
    test = [_subject_index(samples, name, "split.test_subjects") for name in test_subjects or ()]
    val = [_subject_index(samples, name, "split.val_subjects") for name in val_subjects or ()]
    if set(test) & set(val):
        twice = ", ".join(samples.subject_names[i] for i in sorted(set(test) & set(val)))
        raise ConfigError(f"split.val_subjects and split.test_subjects both name {twice}: people stand on one side.")
    people = np.random.default_rng(seed).permutation(len(samples.subject_names))
    free = [int(person) for person in people if person not in test and person not in val]
    tenth = max(1, round(len(samples.subject_names) / 10))
    if not test:
        test, free = free[:tenth], free[tenth:]
    if not val:
        val, free = free[:tenth], free[tenth:]
    if not free:
        raise ConfigError(
            f"split=subject needs three people or more to have some to train on: there are {len(people)}."
        )
    return _by_people(samples, val, test)


def subject_folds(samples: Samples, folds: int, fold: int, seed: int) -> Split:
    """Hold out the people of one fold; the next fold's people validate.

    People are dealt to folds by seed. With `folds` equal to the number of people this is leave-one-subject-out, and
    fold k tests the k-th person.

    Raises:
        ConfigError: fewer people than folds.
    """
    people = np.arange(len(samples.subject_names))
    if len(people) < folds:
        raise ConfigError(f"split.folds={folds} is more than the {len(people)} people in the data: give fewer folds.")
    if len(people) > folds:
        people = np.random.default_rng(seed).permutation(people)
    dealt = np.array_split(people, folds)
    return _by_people(samples, dealt[(fold + 1) % folds].tolist(), dealt[fold].tolist())


def leave_copies_out(split: Split, copies: Indices) -> Split:
    """Identical images that stand on several sides stay on the first of train, val and test and leave the others."""
    seen: Indices = np.array([], dtype=np.int64)
    kept, left_out = {}, [split.left_out]
    for part in PARTS:
        crosses = np.isin(copies[split[part]], seen)
        left_out.append(split[part][crosses])
        kept[part] = split[part][~crosses]
        seen = np.union1d(seen, copies[kept[part]])
    return Split(**kept, left_out=np.sort(np.concatenate(left_out)))


def crossing(split: Split, copies: Indices) -> int:
    """How many images of val and test have an identical one on an earlier side of train, val, test."""
    return len(leave_copies_out(split, copies).left_out) - len(split.left_out)


def to_record(split: Split, samples: Samples) -> dict[str, Any]:
    """The split as lists of paths, for split.json."""
    return {part: [samples.paths[row] for row in split[part]] for part in (*PARTS, "left_out")}


def from_record(record: dict[str, Any], samples: Samples) -> Split:
    """The recorded split as rows of a table.

    Raises:
        ConfigError: an image of the record is missing from the table.
    """
    row_of_path = {path: row for row, path in enumerate(samples.paths)}
    missing = [path for part in PARTS for path in record[part] if path not in row_of_path]
    if missing:
        raise ConfigError(
            f"{len(missing)} images of the recorded split are not below {samples.files.root}, first '{missing[0]}': "
            "give the folder that the run used."
        )
    rows = {part: np.array([row_of_path[path] for path in record[part]], dtype=np.int64) for part in PARTS}
    return Split(**rows, left_out=np.array([], dtype=np.int64))


def _subject_index(samples: Samples, name: str, key: str) -> int:
    """A person by name, or by number where names are numbers written differently (9 for '09'), or by position."""
    names = samples.subject_names
    if name in names:
        return names.index(name)
    if name.isdecimal():
        same = [i for i, other in enumerate(names) if other.isdecimal() and int(other) == int(name)]
        if same:
            return same[0]
        if not any(other.isdecimal() for other in names) and int(name) < len(names):
            return int(name)
    raise ConfigError(f"{key} names '{name}', who is not in the data: the people are {', '.join(names[:20])}.")


def _by_people(samples: Samples, val: Sequence[int], test: Sequence[int]) -> Split:
    side = np.full(len(samples), PARTS.index("train"))
    side[np.isin(samples.subjects, val)] = PARTS.index("val")
    side[np.isin(samples.subjects, test)] = PARTS.index("test")
    return _by_side(side)


def _by_side(side: Indices) -> Split:
    train, val, test = (np.flatnonzero(side == i) for i in range(len(PARTS)))
    return Split(train, val, test, left_out=np.array([], dtype=np.int64))
