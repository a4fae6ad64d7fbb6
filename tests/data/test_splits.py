"""Splits: disjoint, complete, exact in size, by people, and identical images on one side."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gesture.config.names import PARTS
from gesture.config.refusals import ConfigError
from gesture.config.schema import CHOICES, SplitConfig, SubjectSplit
from gesture.data import splits
from gesture.data.dealing import Split, random_split
from gesture.data.files import Folder
from gesture.data.samples import Row, Samples, table
from gesture.data.splits import crossing, leave_copies_out, make_split, would_cross


def people(count: int, images: int = 4) -> Samples:
    rows = [Row(f"{p:02}/{i}.png", f"{p:02}", f"g{i % 2}", i) for p in range(count) for i in range(images)]
    return table("test", Folder(Path()), rows)


def no_copies(samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(len(samples))


def config(**settings: object) -> SplitConfig:
    kind = CHOICES["split"][str(settings.get("name", "subject"))]
    none = dict.fromkeys(("val_subjects", "test_subjects")) if kind is SubjectSplit else {}
    made: SplitConfig = kind(**{"name": "subject", "seed": 0, "keeps_copies_together": True, **none, **settings})
    return made


def subjects_of(samples: Samples, split: Split, part: str) -> set[int]:
    return set(samples.subjects[split[part]].tolist())


def test_twenty_thousand_images_give_exactly_16000_2000_2000() -> None:
    copies = np.arange(20_000)
    copies[:400] //= 2  # pairs
    gestures = np.random.default_rng(0).integers(0, 7, 20_000)
    for keeps in (copies, None):
        split = random_split(gestures, keeps, 0.1, 0.1, seed=0)
        assert [len(split[part]) for part in PARTS] == [16_000, 2_000, 2_000]


@example([0, 1, 1, 1, 1, 2, 3, 10], 0, True)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=200), st.integers(0, 5), st.booleans())
def test_random_splits_are_disjoint_complete_and_keep_identical_images_on_one_side(
    groups: list[int], seed: int, keeps: bool
) -> None:
    copies = np.array(groups)
    gestures = np.array(groups) % 3
    split = random_split(gestures, copies if keeps else None, 0.2, 0.2, seed)
    together = np.concatenate([split[part] for part in PARTS])
    assert sorted(together) == list(range(len(copies)))
    assert len(split.test) <= round(0.2 * len(copies))
    if set(gestures[split.train]) != set(gestures):  # only so that no part is empty
        assert 1 in (len(np.unique(copies[split.val])), len(np.unique(copies[split.test])))
    if keeps:
        assert crossing(split, copies) == 0


def test_a_split_is_a_function_of_its_seed() -> None:
    first, same, other = (random_split(np.arange(100) % 4, None, 0.1, 0.1, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.test, same.test)
    assert not np.array_equal(first.test, other.test)


@pytest.mark.parametrize(("named", "index"), [("07", 7), ("7", 7)])
def test_people_are_held_out_by_name_or_number(named: str, index: int) -> None:
    samples = people(10)
    split = make_split(config(test_subjects=[named], val_subjects=["3"]), samples, no_copies(samples))
    assert subjects_of(samples, split, "test") == {index}
    assert subjects_of(samples, split, "val") == {3}
    assert subjects_of(samples, split, "train") == set(range(10)) - {index, 3}


def test_people_without_numbers_are_found_by_position() -> None:
    samples = table("test", Folder(Path()), [Row(name, name, "g", 0) for name in ("ann", "bob", "eve", "joe")])
    split = make_split(config(test_subjects=["2"], val_subjects=["ann"]), samples, no_copies(samples))
    assert subjects_of(samples, split, "test") == {2}


def test_unnamed_people_are_a_tenth_each_by_seed() -> None:
    samples = people(30)
    split = make_split(config(), samples, no_copies(samples))
    assert [len(subjects_of(samples, split, part)) for part in PARTS] == [24, 3, 3]


@pytest.mark.parametrize("name", ["fold", "loso"])
def test_leave_one_subject_out_tests_each_person_once(name: str) -> None:
    samples = people(5)
    tested = []
    for fold in range(5):
        split = make_split(config(name=name, folds=5, fold=fold), samples, no_copies(samples))
        tested += list(subjects_of(samples, split, "test"))
        assert subjects_of(samples, split, "val") == {(fold + 1) % 5}
    assert tested == [0, 1, 2, 3, 4]


@given(st.integers(3, 12), st.integers(3, 12), st.integers(0, 3))
def test_folds_test_everybody_once_and_share_nobody(count: int, folds: int, seed: int) -> None:
    samples = people(max(count, folds))
    tested: list[int] = []
    for fold in range(folds):
        split = make_split(config(name="fold", folds=folds, fold=fold, seed=seed), samples, no_copies(samples))
        sides = [subjects_of(samples, split, part) for part in PARTS]
        assert sum(len(side) for side in sides) == len(set.union(*sides))
        tested += sides[2]
    assert sorted(tested) == list(range(len(samples.subject_names)))


def test_identical_images_of_two_people_stay_on_the_training_side() -> None:
    samples = people(3, images=4)
    copies = no_copies(samples)
    copies[4:6] = copies[0:2]  # person 1 has two images of person 0, as LeapGestRecog's 05 has of 02
    copies[8] = copies[4]
    settings = config(test_subjects=["1"], val_subjects=["2"])
    split = make_split(settings, samples, copies)
    assert split.train.tolist() == [0, 1, 2, 3]
    assert split.test.tolist() == [6, 7]
    assert split.val.tolist() == [9, 10, 11]
    assert split.left_out.tolist() == [4, 5, 8]
    assert would_cross(settings, samples, copies) == 3
    assert crossing(split, copies) == 0


def test_copies_fall_where_they_fall_when_asked_to_and_are_counted() -> None:
    samples = people(3, images=4)
    copies = no_copies(samples)
    copies[4:6] = copies[0:2]
    settings = config(test_subjects=["1"], val_subjects=["2"], keeps_copies_together=False)
    split = make_split(settings, samples, copies)
    assert len(split.left_out) == 0
    assert crossing(split, copies) == 2


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=1, max_size=60))
def test_leaving_copies_out_keeps_one_side_of_each_group(sides_and_groups: list[tuple[int, int]]) -> None:
    side, copies = (np.array(column) for column in zip(*sides_and_groups, strict=True))
    train, val, test = (np.flatnonzero(side == i) for i in range(3))
    split = leave_copies_out(Split(train, val, test, left_out=np.array([], dtype=np.int64)), copies)
    sides_of_group: dict[int, set[str]] = {}
    for part in PARTS:
        for row in split[part]:
            sides_of_group.setdefault(int(copies[row]), set()).add(part)
    assert all(len(found) == 1 for found in sides_of_group.values())
    assert set(sides_of_group) == set(copies.tolist())
    assert sum(len(split[part]) for part in (*PARTS, "left_out")) == len(copies)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "fold", "folds": 9, "fold": 0}, "more than there are people in the data (5)"),
        ({"name": "loso", "folds": 4, "fold": 0}, "the data have 5: give split.folds=5"),
        ({"name": "loso", "folds": 9, "fold": 0}, "the data have 5: give split.folds=5"),
        ({"test_subjects": ["nobody"]}, "names 'nobody', who is not in the data: the people are 00, 01"),
        ({"test_subjects": ["12"]}, "names '12', who is not in the data"),
        ({"test_subjects": ["1"], "val_subjects": ["01"]}, "both name 01"),
        ({"test_subjects": ["0", "1", "2", "3", "4"]}, "needs three people or more"),
        ({"name": "random", "val_fraction": 0.01, "test_fraction": 0.2}, "leaves no image to val out of 20"),
    ],
)
def test_impossible_splits_are_refused(settings: dict[str, object], words: str) -> None:
    samples = people(5)
    with pytest.raises(ConfigError) as refusal:
        make_split(config(**settings), samples, no_copies(samples))
    assert words in str(refusal.value)


def test_people_cannot_be_held_out_where_nobody_knows_them() -> None:
    samples = table("folder", Folder(Path()), [Row("a/1.png", None, "a", 1), Row("b/1.png", None, "b", 1)])
    with pytest.raises(ConfigError, match="needs to know whose images"):
        make_split(config(), samples, no_copies(samples))


def test_a_recorded_split_comes_back_in_another_table() -> None:
    samples = people(4)
    split = make_split(config(), samples, no_copies(samples))
    record = splits.to_record(split, samples)
    backwards = samples.take(np.arange(len(samples))[::-1])
    again = splits.from_record(record, backwards)
    for part in PARTS:
        assert {backwards.paths[row] for row in again[part]} == {samples.paths[row] for row in split[part]}
    with pytest.raises(ConfigError, match="images of the recorded split are not below"):
        splits.from_record(record, samples.take(np.arange(3)))
