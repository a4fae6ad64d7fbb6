"""Who trains, who validates, who tests: pure functions of the table, the settings and a seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gesture.config.names import PARTS
from gesture.config.refusals import ConfigError
from gesture.config.schema import FolderSplit, FoldSplit, LeaveOneOut, RandomSplit, SplitConfig, SubjectSplit
from gesture.data.dealing import Split, by_side, random_split
from gesture.data.files import counted
from gesture.data.samples import Indices, Samples

VAL_FRACTION = 0.1
"""What validates of a training folder that has no folder for that beside it."""


def make_split(config: SplitConfig, samples: Samples, copies: Indices) -> Split:
    """The split a configuration asks for.

    Raises:
        ConfigError: the data do not allow it, for instance too few people, or a part would be empty.
    """
    split = _without_copies_kept(config, samples, copies)
    if not isinstance(config, RandomSplit) and config.keeps_copies_together:
        split = leave_copies_out(split, copies)
    for part in PARTS:
        if len(split[part]) == 0:
            raise ConfigError(
                f"split={config.name} leaves no image to {part} out of {len(samples)}: change the split.* settings."
            )
    return split


def check_split(config: SplitConfig, samples: Samples) -> None:
    """Refuse what people's names and numbers of images alone show to be impossible, before anything is decoded.

    Raises:
        ConfigError: what `make_split` would refuse.
    """
    make_split(config, samples, np.arange(len(samples)))


def untrained(split: Split, samples: Samples) -> list[str]:
    """The gestures that have no image to train on."""
    absent = np.setdiff1d(np.arange(len(samples.class_names)), samples.gestures[split.train])
    return [samples.class_names[i] for i in absent]


def would_cross(config: SplitConfig, samples: Samples, copies: Indices) -> int:
    """How many images the same split would put beside an identical one on another side, were copies not looked at."""
    return crossing(_without_copies_kept(config, samples, None), copies)


def _without_copies_kept(config: SplitConfig, samples: Samples, copies: Indices | None) -> Split:
    """The split before copies across people are left out; random splits keep copies together themselves."""
    together = copies if config.keeps_copies_together else None
    if isinstance(config, RandomSplit):
        return random_split(samples.gestures, together, config.val_fraction, config.test_fraction, config.seed)
    if isinstance(config, FolderSplit):
        return folder_split(samples, together, config.seed)
    if not samples.knows_subjects:
        raise ConfigError(
            f"split={config.name} needs to know whose images are whose: give data.pattern='(?P<subject>...)'."
        )
    if isinstance(config, SubjectSplit):
        return subject_split(samples, config.val_subjects, config.test_subjects, config.seed)
    assert isinstance(config, FoldSplit)
    people = len(samples.subject_names)
    if isinstance(config, LeaveOneOut) and config.folds != people:
        raise ConfigError(
            f"split={config.name} leaves each person out in turn, so split.folds={config.folds} must be the number of "
            f"people, and the data have {people}: give split.folds={people}."
        )
    return subject_folds(samples, config.folds, config.fold, config.seed)


def folder_note(samples: Samples) -> str:
    """What stands in for the folders that a data set's own split lacks, in a sentence; empty where it lacks none."""
    sides = set() if samples.sides is None else {PARTS[i] for i in np.unique(samples.sides)}
    tenth = "a tenth of train/, drawn by split.seed, validates"
    if "test" not in sides:
        return f"There is no folder test/: val/ tests, and {tenth}."
    return "" if "val" in sides else f"There is no folder val/: {tenth}."


def folder_split(samples: Samples, copies: Indices | None, seed: int) -> Split:
    """What the folders train/, val/ and test/ say.

    Without val/ a tenth of train/, drawn by seed as random splits draw, validates; without test/ it does so too, and
    val/ tests.

    Raises:
        ConfigError: there are no such folders.
    """
    if samples.sides is None:
        raise ConfigError(
            f"split=folder needs folders train/ and test/ below data.root '{samples.files.root}', with the gestures' "
            "folders in them: choose split=random or split=subject."
        )
    side = samples.sides.copy()
    present = {part: bool((side == PARTS.index(part)).any()) for part in PARTS}
    if not present["test"]:
        side[side == PARTS.index("val")] = PARTS.index("test")
    if not (present["test"] and present["val"]):
        train = np.flatnonzero(side == PARTS.index("train"))
        drawn = random_split(samples.gestures[train], None if copies is None else copies[train], VAL_FRACTION, 0, seed)
        side[train[drawn.val]] = PARTS.index("val")
    return by_side(side)


def subject_split(
    samples: Samples, val_subjects: Sequence[str] | None, test_subjects: Sequence[str] | None, seed: int
) -> Split:
    """Whole people validate and test; those not named are a tenth of all people each, at least one, by seed.

    Raises:
        ConfigError: an unknown person, one on two sides, or nobody left to train on.
    """
    for key, names in (("split.test_subjects", test_subjects), ("split.val_subjects", val_subjects)):
        if names is not None and not names:
            raise ConfigError(f"{key}=[] names nobody: name people, or give null for a tenth of them by seed.")
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
            f"split=subject needs three people or more to have some to train on: the data have {len(people)}."
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
        raise ConfigError(f"split.folds={folds} is more than there are people in the data ({len(people)}): give fewer.")
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
            f"{counted(len(missing), 'image')} of the recorded split {'is' if len(missing) == 1 else 'are'} not below "
            f"{samples.files.root}, first '{missing[0]}': "
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
    return by_side(side)
