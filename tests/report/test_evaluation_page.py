"""The report of an evaluation: its numbers are the record's, it warns of people who trained, it shows what there is."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import call
from gesture import evaluate
from gesture.config.refusals import ConfigError
from gesture.config.schema import LossConfig
from gesture.evaluation.calibration import calibration, tempered
from gesture.evaluation.intervals import mean_over_people
from gesture.evaluation.metrics import measure
from gesture.evaluation.people import scores
from gesture.report import page as report
from gesture.runs import predictions as table
from pages import Page, faults, leaves
from reported_runs import GESTURES, PEOPLE, answers


def evaluation_in(folder: Path, **changed: Any) -> Path:
    """An evaluation's directory with everything that one may hold; `changed` are entries of evaluation.json."""
    folder.mkdir(parents=True)
    test = answers(GESTURES, PEOPLE, 4).of("test")
    table.write(folder / "predictions.csv", test)
    measured, people = measure(test, LossConfig(0.0, False, "none")), scores(test)
    fitted_on = {"split": "val", "people": ["val"], "images": 30, "seen_in_training": False}
    record = {
        "version": 1,
        "runs": ["logs/one/best.ckpt", "logs/two/best.ckpt"],
        "protocol": {
            "dataset": {"name": "folder", "root": "photos"},
            "split": {"name": "subject", "note": "None of the 5 people of the test was seen in training."},
            "people": list(people),
            "seen_in_training": [],
            "images": len(test),
        },
        "metrics": measured.overall,
        "per_class": measured.per_class,
        "per_subject": measured.per_subject,
        "confusion_matrix": measured.confusion_matrix,
        "class_names": list(GESTURES),
        "over_people": asdict(mean_over_people(list(people.values()))),
        "roc_auc": {"palm": 0.987, "fist": 0.9, "ok": None},
        "calibration": {
            "before": asdict(calibration(test.probabilities, test.targets)),
            "after": asdict(calibration(tempered(test.probabilities, 1.5), test.targets)),
            "temperature": 1.5,
            "fitted_on": fitted_on,
        },
        "reject": {
            "threshold": 0.61,
            "wanted": {"coverage": 0.9},
            "coverage": 0.88,
            "error": 0.07,
            "per_subject": {"ann": {"coverage": 0.75, "error": 0.1}, "bob": {"coverage": 0.0, "error": None}},
            "unknown": {"empty rooms": {"images": 50, "rejected": 0.42}},
        },
        "moments": {"moments": 24, "accuracy": 0.91, "single_frames": 0.86},
        "groups": {
            "groups": {"left": {"people": ["ann"], "score": 0.9}, "right": {"people": ["bob", "cid"], "score": 0.7}},
            "worst": {"group": "right", "score": 0.7},
            "gap": 0.2,
            "without_group": ["dan"],
        },
        "members": [
            {"run": "logs/one/best.ckpt", "test/accuracy": 0.71, "over_people": 0.72},
            {"run": "logs/two/best.ckpt", "test/accuracy": 0.73, "over_people": None},
        ],
        "mistakes": [
            {"path": "ann/palm/<1>.png", "subject": "ann", "gesture": "palm", "named": "ok", "probability": 0.9876}
        ],
        **changed,
    }
    (folder / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def of(folder: Path) -> Page:
    return Page(report.of_evaluation(folder))


def sources_of(folder: Path) -> dict[str, Any]:
    people = scores(table.read(folder / "predictions.csv").of("test"))
    return {
        "evaluation.json": json.loads((folder / "evaluation.json").read_text()),
        "predictions.csv": {"scores": people},
    }


def test_every_number_is_the_records_and_every_measured_number_is_shown(tmp_path: Path) -> None:
    folder = evaluation_in(tmp_path / "evaluation")
    page, sources = of(folder), sources_of(folder)
    assert faults(page, sources) == []
    told = {one.attributes["data-from"] for one in page.figures}
    record = sources["evaluation.json"]
    for entry in ("metrics", "per_class", "per_subject", "confusion_matrix", "roc_auc", "reject", "moments", "members"):
        for place in leaves(record[entry]):
            assert "wanted" in place or f"evaluation.json#/{entry}{place}" in told, place
    for place in ("groups/left/score", "groups/right/score", "worst/score", "gap"):
        assert f"evaluation.json#/groups/{place}" in told
    for key in ("before", "after"):
        for name in ("ece", "adaptive_ece", "brier", "nll"):
            assert f"evaluation.json#/calibration/{key}/{name}" in told
    assert "for coverage 90 %" in page.text


def test_an_evaluation_leaves_its_report_and_the_runs_tells_of_its_calibration(run_dir: Path, tmp_path: Path) -> None:
    run, folder = tmp_path / "run", tmp_path / "evaluation"
    shutil.copytree(run_dir, run)
    assert call(evaluate.main, f"run={run}", f"hydra.run.dir={folder}") == 0
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert faults(page, sources_of(folder)) == []
    assert len(page.all("img")) == 1
    told = {one.attributes["data-from"] for one in Page((run / "report.html").read_text(encoding="utf-8")).figures}
    assert {"calibration.json#/temperature", "predictions.csv#/after/ece"} <= told


def test_a_number_that_is_changed_in_the_record_is_found(tmp_path: Path) -> None:
    folder = evaluation_in(tmp_path / "evaluation")
    page, sources = of(folder), sources_of(folder)
    sources["evaluation.json"]["moments"]["accuracy"] += 0.01
    assert len(faults(page, sources)) == 1


def test_the_smallest_evaluation_has_a_page_too(tmp_path: Path) -> None:
    test = answers(GESTURES, PEOPLE, 4).of("test")
    measured = asdict(calibration(test.probabilities, test.targets))
    folder = evaluation_in(
        tmp_path / "evaluation",
        runs=["one"],
        calibration={"before": measured, "after": None, "temperature": None, "fitted_on": None},
        **dict.fromkeys(("reject", "moments", "groups", "roc_auc")),
        members=[],
        mistakes=[],
    )
    page = of(folder)
    assert faults(page, sources_of(folder)) == []
    for absent in ("Saying nothing", "moments", "Groups of people", "Each run by itself", "with the temperature"):
        assert absent not in page.text
    assert "No image of the test was named wrongly." in page.text


def test_it_warns_of_people_who_trained_and_of_a_fit_on_them(tmp_path: Path) -> None:
    honest = of(evaluation_in(tmp_path / "honest"))
    assert [one for one in honest.elements if one.attributes.get("class") == "warning"] == []
    seen = {"dataset": "folder", "split": "random", "people": ["ann"], "seen_in_training": ["ann"], "images": 60}
    record = json.loads((tmp_path / "honest" / "evaluation.json").read_text())["calibration"]
    record["fitted_on"]["seen_in_training"] = True
    page = of(evaluation_in(tmp_path / "leaky", protocol=seen, calibration=record))
    (warning,) = [one.text for one in page.elements if one.attributes.get("class") == "warning"]
    assert "Seen in training: ann." in warning
    assert "fitted on people seen in training" in warning


def test_the_sheet_of_mistakes_is_shown_where_it_is_a_small_picture(tmp_path: Path) -> None:
    folder = evaluation_in(tmp_path / "evaluation")
    assert of(folder).all("img") == []
    (folder / "plots").mkdir()
    (folder / "plots" / "mistakes.jpg").write_bytes(b"<svg onload=1>")
    assert of(folder).all("img") == []
    Image.new("RGB", (400, 200), "gray").save(folder / "plots" / "mistakes.jpg")
    (picture,) = of(folder).all("img")
    assert picture.attributes["src"].startswith("data:image/jpeg;base64,/9j/")
    (folder / "plots" / "mistakes.jpg").write_bytes(b"\xff\xd8" + bytes(1_000_000))
    assert of(folder).all("img") == []


def test_names_stay_text(tmp_path: Path) -> None:
    page = of(evaluation_in(tmp_path / "evaluation"))
    assert "ann/palm/<1>.png" in page.text


def test_a_directory_without_an_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no evaluation\.json"):
        report.of_evaluation(tmp_path)
