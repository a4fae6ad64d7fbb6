"""The report of a comparison: its numbers are comparison.json's, and what is not done is shown as such."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gesture.evaluation.intervals import mean_over_people, paired_difference
from gesture.report import page as report
from pages import Page, faults, leaves

PEOPLE = ("ann", "bob", "cid", "dan", "eve", "fay")
SCORES = {"plain <1>": (0.8, 0.7, 0.9, 0.6, 0.75, 0.85), "recipe": (0.9, 0.72, 0.95, 0.5, 0.8, 0.9)}


def setting(label: str) -> dict[str, Any]:
    own = dict(zip(PEOPLE, SCORES[label], strict=True))
    worst = min(own, key=lambda person: own[person])
    return {
        "label": label,
        "differs": {"augment": label},
        "runs": 6,
        "seeds": 1,
        "per_person": own,
        "interval": asdict(mean_over_people(SCORES[label])),
        "worst": {"person": worst, "score": own[worst]},
        "random_split": 0.99 if label == "recipe" else None,
        "gap": 0.195 if label == "recipe" else None,
    }


def comparison_in(folder: Path, **changed: Any) -> Path:
    """A comparison's directory; `changed` are entries of comparison.json."""
    folder.mkdir(parents=True)
    one, other = SCORES
    done = {"status": "done", "monitor": "val/accuracy", "test/accuracy": 0.4, "seconds": 10.5, "error": None}
    runs: list[dict[str, Any]] = [
        {"path": f"logs/{i}", "name": f"{i}-fold-{i}", "score": 0.5 + i / 20, "differs": {"split.fold": i}, **done}
        for i in range(6)
    ]
    runs.append({**runs[0], "path": "logs/x", "name": "6-fold-0", "status": "died", "score": None, "error": "killed"})
    record = {
        "version": 1,
        "runs": runs,
        "people": list(PEOPLE),
        "settings": [setting(other), setting(one)],
        "differences": [{"one": other, "other": one, **asdict(paired_difference(SCORES[other], SCORES[one]))}],
        "curves": {f"logs/{i}": {"epoch": [0, 1, 2], "val/accuracy": [0.3, None, 0.5 + i / 20]} for i in range(6)},
        "sentences": ["Two differences & more were tested."],
        **changed,
    }
    (folder / "comparison.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def of(folder: Path) -> Page:
    return Page(report.of_comparison(folder))


def test_every_number_is_the_records_and_every_score_is_shown(tmp_path: Path) -> None:
    folder = comparison_in(tmp_path / "comparison")
    record = json.loads((folder / "comparison.json").read_text())
    page = of(folder)
    assert faults(page, {"comparison.json": record}) == []
    told = {one.attributes["data-from"].partition("#")[2] for one in page.figures}
    for i, one in enumerate(record["settings"]):
        places = leaves({key: one[key] for key in ("runs", "seeds", "per_person", "worst", "random_split", "gap")})
        assert {f"/settings/{i}{place}" for place in places} <= told
        assert {f"/settings/{i}/interval/{key}" for key in ("mean", "low", "high", "level")} <= told
    assert {f"/differences/0/{key}" for key in ("mean", "low", "high", "p", "people")} <= told
    assert {f"/runs/{i}/score" for i in range(7)} <= told
    assert record["differences"][0]["verdict"] in page.text
    assert record["sentences"][0] in page.text
    assert "plain <1>" in page.text


def test_a_number_that_is_changed_in_the_record_is_found(tmp_path: Path) -> None:
    folder = comparison_in(tmp_path / "comparison")
    record = json.loads((folder / "comparison.json").read_text())
    record["differences"][0]["mean"] += 0.01
    assert len(faults(of(folder), {"comparison.json": record})) == 1


def test_what_is_not_done_is_said_first_and_shown_as_such(tmp_path: Path) -> None:
    page = of(comparison_in(tmp_path / "comparison"))
    (warning,) = [one.text for one in page.elements if one.attributes.get("class") == "warning"]
    assert "Not done, and in no mean: 6-fold-0 (died)." in warning
    assert "killed" in page.text


def test_an_interval_that_is_undefined_is_said_to_be_so(tmp_path: Path) -> None:
    alone = {**setting("recipe"), "per_person": {"ann": 0.9}, "interval": asdict(mean_over_people([0.9]))}
    page = of(comparison_in(tmp_path / "comparison", settings=[alone], differences=[], people=["ann"]))
    assert "undefined" in page.text
    assert "One person says nothing about how much people differ: no interval." in page.text
    assert "No two settings are compared." in page.text


def test_runs_that_tell_nothing_of_others_are_only_listed(tmp_path: Path) -> None:
    page = of(comparison_in(tmp_path / "comparison", settings=[], differences=[], people=[], curves={}))
    assert "nothing here tells of others" in page.text
    assert page.all("svg") == []
    assert "5-fold-5" in page.text


def test_a_hundred_runs_stay_below_300_kb(tmp_path: Path) -> None:
    run = json.loads((comparison_in(tmp_path / "one") / "comparison.json").read_text())["runs"][0]
    runs = [{**run, "path": f"logs/{i}", "differs": {f"key{k}": "some value" for k in range(12)}} for i in range(300)]
    curves = {f"logs/{i}": {"epoch": list(range(300)), "val/accuracy": [0.123456] * 300} for i in range(300)}
    assert len(report.of_comparison(comparison_in(tmp_path / "many", runs=runs, curves=curves)).encode()) < 300_000
