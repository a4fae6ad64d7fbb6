"""Many runs made into one answer."""

from pathlib import Path

import pytest

from gesture.evaluation.comparison import Comparison, compare
from gesture.evaluation.intervals import CAVEAT, mean_over_people, paired_difference
from gesture.runs.collection import runs_of
from made_runs import made_run

PEOPLE = [f"{number:02}" for number in range(10)]
PLAIN = [0.6, 0.75, 0.8, 0.65, 0.9, 0.7, 0.85, 0.5, 0.75, 0.7]
BETTER = [0.7, 0.8, 0.8, 0.8, 0.95, 0.85, 0.85, 0.7, 0.85, 0.8]


def folds(folder: Path, scores: list[float], *words: str, without: str = "") -> None:
    """A run for each person, who alone tests, but for one."""
    for fold, (person, score) in enumerate(zip(PEOPLE, scores, strict=True)):
        if person != without:
            others = [other for other in PEOPLE if other != person]
            made_run(folder / str(fold), {person: score}, *words, "split=loso", f"split.fold={fold}", trained_on=others)


def of(*places: Path) -> Comparison:
    return compare(runs_of([str(place) for place in places]), 0.95)


def test_folds_are_joined_into_settings_and_these_compared(tmp_path: Path) -> None:
    folds(tmp_path / "none", PLAIN)
    folds(tmp_path / "light", BETTER, "augment=light")
    found = of(tmp_path)
    better, plain = found.settings
    assert (better.label, plain.label) == ("augment=light", "augment=none")
    assert better.differs == {"augment": "light"}
    assert (len(better.runs), better.seeds) == (10, 1)
    assert found.people == PEOPLE
    assert list(better.scores.values()) == pytest.approx(BETTER)
    assert better.interval == mean_over_people(list(better.scores.values()))
    assert plain.worst == ("07", 0.5)
    [(one, other, difference)] = found.differences
    assert (one, other) == (better.label, plain.label)
    assert difference == paired_difference(
        list(better.scores.values()), list(plain.scores.values()), names=(better.label, plain.label)
    )
    assert difference.verdict.startswith("augment=light is better by 9.0 points (")
    assert found.sentences[-1] == CAVEAT


def test_a_person_s_score_is_the_mean_over_seeds(tmp_path: Path) -> None:
    folds(tmp_path / "0", PLAIN, "seed=0")
    folds(tmp_path / "1", BETTER, "seed=1")
    [setting] = of(tmp_path).settings
    assert (len(setting.runs), setting.seeds, setting.label) == (20, 2, "backbone=resnet18")
    assert setting.scores["03"] == pytest.approx((0.65 + 0.8) / 2)


def test_the_gap_is_held_against_the_same_settings_on_a_random_split_of_the_same_people(tmp_path: Path) -> None:
    folds(tmp_path / "loso", PLAIN)
    everybody = dict.fromkeys(PEOPLE[:5], 1.0)
    made_run(tmp_path / "random", everybody, "split=random", trained_on=PEOPLE)
    made_run(tmp_path / "again", everybody, "split=random", "seed=1", "split.seed=1", trained_on=PEOPLE)
    made_run(tmp_path / "other", dict.fromkeys(PEOPLE, 0.1), "split=random", "optimizer.lr=0.5", trained_on=PEOPLE)
    found = of(tmp_path)
    [setting] = found.settings
    assert setting.random_split == 1.0
    assert setting.gap == pytest.approx(1.0 - sum(PLAIN[:5]) / 5)
    assert len(found.runs) == 13
    assert not any("gap to a random split" in sentence for sentence in found.sentences)


def test_people_whom_a_setting_lacks_are_left_out_of_all_and_named(tmp_path: Path) -> None:
    folds(tmp_path / "none", PLAIN)
    folds(tmp_path / "light", BETTER, "augment=light", without="07")
    made_run(tmp_path / "light" / "7", {"07": 0.9}, "augment=light", "split=loso", "split.fold=7", status="failed")
    found = of(tmp_path)
    assert found.people == [person for person in PEOPLE if person != "07"]
    assert [setting.interval.people for setting in found.settings] == [9, 9]
    assert found.settings[1].worst == ("00", 0.6)
    assert "Not done: 1 of 20 runs (failed)." in found.sentences
    left_out = "Left out of the comparison, since not every setting tests them: 07 (not in augment=light)."
    assert left_out in found.sentences
    [light, none] = found.record()["settings"]
    assert light["per_person"]["07"] is None
    assert none["per_person"]["07"] == 0.5


def test_settings_that_share_nobody_are_not_compared(tmp_path: Path) -> None:
    made_run(tmp_path / "0", {"00": 0.5, "01": 0.7}, "split=subject")
    made_run(tmp_path / "1", {"02": 0.5, "03": 0.7}, "split=subject", "augment=light")
    found = of(tmp_path)
    assert (found.people, found.differences) == ([], [])
    assert [setting.interval.people for setting in found.settings] == [2, 2]
    assert any(sentence.startswith("No person is tested in every setting") for sentence in found.sentences)


def test_nothing_is_told_about_others_where_the_test_s_people_were_trained_on(tmp_path: Path) -> None:
    made_run(tmp_path / "0", {"00": 1.0, "01": 0.9}, "split=random", trained_on=["00", "01"])
    made_run(tmp_path / "1", {"00": 1.0}, "split=subject", trained_on=["00", "01"])
    found = of(tmp_path)
    assert (found.settings, found.people, found.differences) == ([], [], [])
    assert found.sentences[-1].startswith("No run tests people whom it was not trained on")


def test_other_images_are_another_setting(tmp_path: Path) -> None:
    folds(tmp_path / "a", PLAIN)
    folds(tmp_path / "b", PLAIN)
    for result in (tmp_path / "b").glob("*/result.json"):
        result.write_text(result.read_text().replace("0123", "4567"))
    assert {setting.label for setting in of(tmp_path).settings} == {"content=0123", "content=4567"}


def test_where_things_lie_and_who_is_told_makes_no_other_setting(tmp_path: Path) -> None:
    folds(tmp_path / "a", PLAIN[:5] + BETTER[5:], "data.root=here", "name=mine")
    folds(tmp_path / "b", PLAIN, "data.cache_dir=there", "logger=none", "checkpoint.every_n_steps=5")
    found = of(tmp_path)
    assert len(found.settings) == 1
    assert set().union(*found.differs) == {"split.fold"}


def test_many_settings_are_each_held_against_the_best(tmp_path: Path) -> None:
    for number in range(8):
        scores = {"00": 0.5 + number / 20, "01": 0.6}
        made_run(tmp_path / str(number), scores, "split=subject", f"optimizer.lr=0.{number + 1}")
    found = of(tmp_path)
    assert [one for one, _, _ in found.differences] == ["lr=0.8"] * 7
    assert any(sentence.startswith("7 differences were tested") for sentence in found.sentences)


def test_runs_come_best_first_and_those_without_a_score_last(tmp_path: Path) -> None:
    made_run(tmp_path / "failed", {}, "seed=3", status="failed", score=0.9)
    made_run(tmp_path / "low", {"00": 0.5}, "split=subject", score=0.2)
    made_run(tmp_path / "high", {"00": 0.5}, "split=subject", "seed=2", score=0.8)
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "result.json").write_text('{"status": "refused", "error": "nobody is called 77"}')
    (tmp_path / "refused" / "overrides").write_text("seed=7\nsplit.test_subjects=[77]\n")
    found = of(tmp_path)
    assert [run.trial.name for run in found.runs] == ["high", "low", "failed", "refused"]
    assert [run.trial.status for run in found.runs] == ["done", "done", "failed", "refused"]
    assert [differs["seed"] for differs in found.differs] == [2, 0, 3, 7]
    assert found.runs[2].trial.error == "RuntimeError: no memory"


def test_a_table_of_predictions_that_is_cut_off_is_said_and_counts_for_nobody(tmp_path: Path) -> None:
    folds(tmp_path, PLAIN)
    path = tmp_path / "3" / "predictions.csv"
    path.write_text(path.read_text()[:-30])
    found = of(tmp_path)
    assert "03" not in found.people
    [error] = [run.trial.error for run in found.runs if run.trial.error]
    assert "is damaged" in error


def test_the_record_holds_what_a_page_shows(tmp_path: Path) -> None:
    folds(tmp_path / "none", PLAIN)
    folds(tmp_path / "light", BETTER, "augment=light")
    record = of(tmp_path).record()
    assert list(record) == ["version", "level", "runs", "people", "settings", "differences", "curves", "sentences"]
    assert record["curves"][str(tmp_path / "none" / "0")] == {"epoch": [0, 1, 2], "val/accuracy": [0.25, None, 0.5]}
    expected = {"path", "name", "status", "score", "monitor", "test/accuracy", "seconds", "error", "differs"}
    assert {*record["runs"][0]} == expected
    setting = record["settings"][0]
    assert list(setting)[:3] == ["label", "differs", "runs"]
    assert setting["interval"]["people"] == 10
    assert setting["worst"] == {"person": "00", "score": pytest.approx(0.7)}
    assert {*record["differences"][0]} >= {"one", "other", "mean", "low", "high", "p", "people", "verdict"}


def test_runs_are_found_by_folder_by_pattern_and_by_name_each_once(tmp_path: Path) -> None:
    folds(tmp_path / "a b", PLAIN)
    made_run(tmp_path / "c" / "0", {"00": 0.5})
    names = [trial.name for trial in runs_of([f"{tmp_path}/*", str(tmp_path / "c" / "0"), f"{tmp_path}/a b/1"])]
    assert len(names) == len(set(names)) == 11
    assert names.count(str(tmp_path / "c" / "0")) == 1
