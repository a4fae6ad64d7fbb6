"""Finished runs on other images, several runs as one, and what an evaluation leaves."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import call
from gesture import evaluate, train
from gesture.config.schema import LossConfig
from gesture.evaluation.calibration import calibration, fit_temperature, tempered
from gesture.evaluation.metrics import measure
from gesture.evaluation.people import scores
from gesture.runs import predictions
from gesture.synthetic.dataset import render_dataset

PLAIN = LossConfig(label_smoothing=0.0, on_probabilities=False, class_weights="none")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two other people, two frames of each gesture."""
    return render_dataset(tmp_path_factory.mktemp("others"), subjects=2, frames=2, seed=1, workers=1)


@pytest.fixture(scope="module")
def second_run(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like `run_dir`, of the same split and another seed."""
    directory = tmp_path_factory.mktemp("logs") / "second"
    words = ["split=subject", "optimizer.lr=1e-3", "seed=1", f"hydra.run.dir={directory}"]
    assert call(train.main, *tiny, *words) == 0
    return directory


def copy_of(run: Path, place: Path) -> Path:
    """A run that may be written to, as it was when it ended."""
    return shutil.copytree(run, place, ignore=shutil.ignore_patterns("calibration.json"))


def evaluated(*words: str) -> dict[str, Any]:
    """What evaluation.json says after a command with these words."""
    assert call(evaluate.main, *words, "hydra.run.dir=evaluation") == 0
    record: dict[str, Any] = json.loads(Path("evaluation/evaluation.json").read_text())
    return record


def as_folder(root: Path) -> list[str]:
    return ["data=folder", f"data.root={root}", r"data.pattern=(?P<subject>\d+)/(?P<gesture>\w+)/"]


def test_an_evaluation_is_a_view_of_its_predictions(run_dir: Path, tmp_path: Path) -> None:
    record = evaluated(f"run={copy_of(run_dir, tmp_path / 'run')}")
    table = predictions.read(Path("evaluation/predictions.csv"))
    measured = measure(table, PLAIN)
    assert record["metrics"] == measured.overall
    assert record["per_class"] == measured.per_class
    assert record["per_subject"] == measured.per_subject
    assert record["over_people"]["mean"] == pytest.approx(np.mean(list(scores(table).values())))
    before = calibration(table.probabilities, table.targets)
    assert record["calibration"]["before"]["ece"] == pytest.approx(before.ece)
    assert record["protocol"]["people"] == sorted(set(table.subjects))
    assert record["protocol"]["seen_in_training"] == []
    assert "was not seen in training" in record["protocol"]["split"]["note"]
    recorded = json.loads((run_dir / "result.json").read_text())
    assert record["confusion_matrix"] == recorded["confusion_matrix"]
    for mistake in record["mistakes"]:
        assert mistake["gesture"] != mistake["named"]
    assert (tmp_path / "evaluation" / "plots" / "reliability.png").is_file()


def test_temperature_and_threshold_are_of_the_recorded_validation_alone(run_dir: Path, tmp_path: Path) -> None:
    run = copy_of(run_dir, tmp_path / "run")
    record = evaluated(f"run={run}", "reject.coverage=0.8")
    table = predictions.read(run / "predictions.csv")
    val, test = table.of("val"), table.of("test")
    kept = json.loads((run / "calibration.json").read_text())
    assert kept["temperature"] == fit_temperature(val.probabilities, val.targets)
    assert kept["fitted_on"] == {
        "split": "val",
        "people": sorted(set(val.subjects)),
        "images": len(val),
        "seen_in_training": False,
    }
    assert kept["wanted"] == {"coverage": 0.8}
    assert kept["coverage"] >= 0.8
    sure = tempered(test.probabilities, kept["temperature"]).max(axis=1)
    assert record["reject"]["coverage"] == pytest.approx((sure >= kept["threshold"]).mean())
    assert record["calibration"]["after"]["ece"] == pytest.approx(
        calibration(tempered(test.probabilities, kept["temperature"]), test.targets).ece
    )


def test_a_validation_of_people_who_trained_is_labelled_so(run_dir: Path, tmp_path: Path) -> None:
    run = copy_of(run_dir, tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    result["split"]["subjects"]["train"] = ["00", "01", "02"]
    (run / "result.json").write_text(json.dumps(result))
    record = evaluated(f"run={run}")
    assert json.loads((run / "calibration.json").read_text())["fitted_on"]["seen_in_training"] is True
    assert len(record["protocol"]["seen_in_training"]) == 1
    assert "was seen in training" in record["protocol"]["split"]["note"]


def test_another_checkpoint_than_the_best_fits_nothing(run_dir: Path, tmp_path: Path) -> None:
    run = copy_of(run_dir, tmp_path / "run")
    record = evaluated(f"run={run}/checkpoints/last.ckpt")
    assert record["calibration"]["after"] is None
    assert "best checkpoint" in record["calibration"]["note"]
    assert record["reject"] is None
    assert not (run / "calibration.json").exists()


def test_other_people_are_all_tested_and_nothing_is_fitted_on_them(
    run_dir: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_of(run_dir, tmp_path / "run")
    record = evaluated(f"run={run}", *as_folder(others))
    assert record["protocol"]["images"] == 40
    assert record["protocol"]["people"] == ["00", "01"]
    assert record["protocol"]["seen_in_training"] == []
    assert record["protocol"]["split"]["name"] == "all images"
    assert not (run / "calibration.json").exists()
    val = predictions.read(run / "predictions.csv").of("val")
    assert record["calibration"]["temperature"] == fit_temperature(val.probabilities, val.targets)
    assert "Over two people" in capsys.readouterr().out


def test_a_split_of_other_people_takes_its_test(run_dir: Path, others: Path) -> None:
    more = render_dataset(others.parent, subjects=3, frames=1, seed=2, workers=1)
    record = evaluated(f"run={run_dir}/checkpoints/best.ckpt", *as_folder(more), "split=fold", "split.folds=3")
    assert record["protocol"]["people"] == ["00"]
    assert record["protocol"]["images"] == 10


def test_the_runs_own_images_split_anew_say_who_trained(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = json.loads((run_dir / "result.json").read_text())["split"]["subjects"]["train"][0]
    others = [person for person in ("00", "01", "02") if person != trained]
    words = ["split=subject", f"split.test_subjects=[{trained}]", f"split.val_subjects=[{others[0]}]"]
    record = evaluated(f"run={copy_of(run_dir, tmp_path / 'run')}", *words)
    assert record["protocol"]["seen_in_training"] == [trained]
    assert record["protocol"]["images_trained_on"] == record["protocol"]["images"] > 0
    assert "were trained on" in capsys.readouterr().out


def test_nothing_is_fitted_on_images_that_test(run_dir: Path, rendered: Path, tmp_path: Path) -> None:
    run = copy_of(run_dir, tmp_path / "run")
    record = evaluated(f"run={run}", "data=leapgestrecog", f"data.root={rendered}")
    assert record["protocol"]["images"] == 150
    assert record["calibration"]["after"] is None
    assert "nothing is fitted on a test" in record["calibration"]["note"]


def renamed(root: Path, place: Path) -> Path:
    """The same images of the same people under other files' and other people's names."""
    for image in sorted(root.glob("*/*/*.png")):
        person, gesture = image.parts[-3:-1]
        target = place / f"1{person}" / gesture / f"picture{image.stem[-2:]}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, target)
    return place


def test_renamed_copies_of_the_runs_images_are_its_own(run_dir: Path, rendered: Path, tmp_path: Path) -> None:
    shared = renamed(rendered, tmp_path / "copied")
    (trained,) = json.loads((run_dir / "result.json").read_text())["split"]["subjects"]["train"]
    shutil.rmtree(shared / f"1{trained}" / "01_palm")  # another fingerprint: images alone tell
    record = evaluated(f"run={copy_of(run_dir, tmp_path / 'run')}", *as_folder(shared))
    assert record["protocol"]["seen_in_training"] == [f"1{trained}"]
    assert record["protocol"]["images_trained_on"] == 45
    assert "nothing is fitted on a test" in record["calibration"]["note"]


def test_other_images_under_the_runs_paths_are_new(run_dir: Path, tmp_path: Path) -> None:
    other = render_dataset(tmp_path / "other", subjects=3, frames=5, seed=9, workers=1)
    record = evaluated(f"run={copy_of(run_dir, tmp_path / 'run')}", "data=leapgestrecog", f"data.root={other}")
    assert record["protocol"]["seen_in_training"] == []
    assert record["protocol"]["images_trained_on"] == 0
    assert record["calibration"]["after"] is not None


def test_without_the_runs_images_it_is_not_known_what_was_seen(run_dir: Path, others: Path, tmp_path: Path) -> None:
    run = copy_of(run_dir, tmp_path / "run")
    plain = yaml.safe_load((run / "config.yaml").read_text())
    plain["data"]["root"] = str(tmp_path / "gone")
    (run / "config.yaml").write_text(yaml.safe_dump(plain))
    record = evaluated(f"run={run}", *as_folder(others))
    assert record["protocol"]["seen_in_training"] is None
    assert record["protocol"]["images_trained_on"] is None
    assert "It is not known whether people of the test were seen" in record["protocol"]["split"]["note"]
    assert "Whether these images trained or validated is not known" in record["calibration"]["note"]
    assert "not known" in Path("evaluation/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data=folder", "data.root={root}/00"], "none of the images shows a gesture of the run's: they show x, y"),
        (["data=folder", "data.root={root}/none"], "does not exist"),
        (["data=folder", "data.root={root}/00", "data.image_size=[8,8]"], "with 32 or more pixels each"),
        (["data=folder", "data.root={root}/00", "data.stride=zero"], "data.stride=zero must be a whole number"),
        (["data=folder", "data.root={root}/00", "root=x"], "leave out root or data"),
        (["unknown=[{root}/none]"], "unknown='{root}/none' does not exist"),
        (["groups={root}/none.csv"], "groups='{root}/none.csv' cannot be read"),
        (["runs=[{root}/00]"], "run and runs are both given"),
        (["split=fold", "split.fold=12"], "split.fold=12 must be below split.folds=10"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_nothing(
    words: list[str], sentence: str, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for gesture in ("x", "y"):
        (tmp_path / "00" / gesture).mkdir(parents=True)
        Image.new("L", (40, 40)).save(tmp_path / "00" / gesture / "1.png")
    given = [word.format(root=tmp_path) for word in words]
    assert call(evaluate.main, f"run={run_dir}", *given, "hydra.run.dir=logs/evaluation") == 2
    errors = capsys.readouterr().err
    assert sentence.format(root=tmp_path) in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "logs").exists()


def test_without_a_run_it_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(evaluate.main) == 2
    assert "run is not set: give run=<a run directory or checkpoint>" in capsys.readouterr().err


def test_a_gesture_that_was_not_trained_counts_as_unknown(
    run_dir: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = shutil.copytree(others, tmp_path / "more")
    shutil.copytree(more / "00" / "01_palm", more / "00" / "wave")
    noise = tmp_path / "noise"
    noise.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 64), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(noise / f"{number}.png")
    (noise / "broken.png").write_bytes(b"no image")
    record = evaluated(f"run={run_dir}/checkpoints/best.ckpt", *as_folder(more), f"unknown=[{noise}]")
    assert record["protocol"]["images"] == 40
    unknown = record["reject"]["unknown"]
    assert {name: one["images"] for name, one in unknown.items()} == {
        "50 rendered rooms without a hand": 50,
        "gesture wave": 2,
        str(noise): 3,
    }
    assert all(0 <= one["rejected"] <= 1 for one in unknown.values())
    printed = capsys.readouterr().out
    assert "1 gesture not trained: wave" in printed
    assert "left out since they cannot be decoded: 1 image" in printed


def mean_of(runs: list[Path], part: str) -> Mapping[str, Any]:
    """The mean of recorded probabilities by path."""
    tables = [predictions.read(run / "predictions.csv").of(part) for run in runs]
    by_path = [dict(zip(table.paths, table.probabilities.astype(float), strict=True)) for table in tables]
    return {path: np.mean([one[path] for one in by_path], axis=0) for path in by_path[0]}


def test_several_runs_are_averaged_beside_the_single_ones(run_dir: Path, second_run: Path, tmp_path: Path) -> None:
    runs = [copy_of(run, tmp_path / "logs" / run.name) for run in (run_dir, second_run)]
    output = tmp_path / "out.json"
    record = evaluated(f"runs=[{tmp_path}/logs/*]", f"output={output}")
    expected, table = mean_of(runs, "test"), predictions.read(Path("evaluation/predictions.csv"))
    for path, row in zip(table.paths, table.probabilities, strict=True):
        assert row == pytest.approx(expected[path], abs=1e-6)
    singles = [json.loads((run / "result.json").read_text())["metrics"]["test/accuracy"] for run in runs]
    assert [one["test/accuracy"] for one in record["members"]] == pytest.approx(singles)
    val = mean_of(runs, "val")
    targets = predictions.read(runs[0] / "predictions.csv").of("val").targets
    fitted = fit_temperature(np.array(list(val.values()), dtype=np.float32), targets)
    assert record["calibration"]["temperature"] == pytest.approx(fitted, rel=1e-4)
    assert not any((run / "calibration.json").exists() for run in runs)
    assert json.loads(output.read_text())["metrics"] == record["metrics"]


def test_runs_that_do_not_go_together_are_refused(
    run_dir: Path, second_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = copy_of(second_run, tmp_path / "other")
    split = json.loads((other / "split.json").read_text())
    (other / "split.json").write_text(json.dumps({**split, "test": split["val"], "val": split["test"]}))
    assert call(evaluate.main, f"runs=[{run_dir},{other}]") == 2
    assert "the runs test different images" in capsys.readouterr().err
    fewer = {**split, "train": split["train"] + split["test"][4:], "test": split["test"][:4]}
    (other / "split.json").write_text(json.dumps(fewer))
    assert call(evaluate.main, f"runs=[{run_dir},{other}]") == 2
    errors = capsys.readouterr().err
    assert "give runs of one split, or data=..." in errors
    assert errors.count("\n") == 1
    result = json.loads((other / "result.json").read_text())
    names = ["wave", *result["class_names"][1:]]
    (other / "result.json").write_text(json.dumps({**result, "class_names": names}))
    assert call(evaluate.main, f"runs=[{run_dir},{other}]") == 2
    assert "know different gestures (01_palm, wave)" in capsys.readouterr().err
    assert call(evaluate.main, f"runs=[{run_dir},{run_dir}]") == 2
    assert "twice" in capsys.readouterr().err


def test_runs_that_validated_on_different_people_fit_nothing(run_dir: Path, second_run: Path, tmp_path: Path) -> None:
    other = copy_of(second_run, tmp_path / "other")
    table = predictions.read(other / "predictions.csv")
    predictions.write(other / "predictions.csv", table.take(range(1, len(table))))
    record = evaluated(f"runs=[{run_dir},{other}]")
    assert record["calibration"]["after"] is None
    assert "different images" in record["calibration"]["note"]


def test_groups_are_set_beside_each_other(
    run_dir: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "groups.csv").write_text("subject,group\n00,bare\n01,sleeve\n")
    record = evaluated(f"run={run_dir}/checkpoints/best.ckpt", *as_folder(others), "groups=groups.csv")
    found = record["groups"]
    own = scores(predictions.read(Path("evaluation/predictions.csv")))
    assert found["worst"]["score"] == pytest.approx(min(own.values()))
    assert found["gap"] == pytest.approx(max(own.values()) - min(own.values()))
    assert "The worst group is" in capsys.readouterr().out


def test_mistakes_are_shown_small_and_what_was_looked_at_where_it_is_asked_for(run_dir: Path, others: Path) -> None:
    pytest.importorskip("captum")
    words = [f"run={run_dir}/checkpoints/best.ckpt", *as_folder(others)]
    record = evaluated(*words)
    sheet = Path("evaluation/plots/mistakes.jpg")
    assert 0 < len(record["mistakes"]) <= 8
    plain = np.asarray(Image.open(sheet)).astype(int)
    assert sheet.stat().st_size < 60_000
    assert np.abs(plain[..., 0] - plain[..., 2]).mean() < 1  # gray
    assert evaluated(*words, "explain=true")["mistakes"] == record["mistakes"]
    explained = np.asarray(Image.open(sheet)).astype(int)
    assert np.abs(explained[..., 0] - explained[..., 2]).mean() > 5


def test_explaining_without_captum_names_the_extra_before_the_work(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    assert call(evaluate.main, f"run={run_dir}", "explain=true") == 2
    printed = capsys.readouterr()
    assert "needs the extra 'explain'" in printed.err
    assert "testing on" not in printed.out
