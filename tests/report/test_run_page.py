"""The report of a run: its numbers are the record's, its text is text, it warns, it is small and stands alone."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import call
from gesture import train
from gesture.report import page as report
from gesture.report.charts import ticks_of
from gesture.report.document import STYLE
from gesture.report.markup import as_text
from gesture.runs.predictions import read
from pages import Page, faults, leaves
from reported_runs import GESTURES, PEOPLE, calibrated, run_in, sources_of

NASTY = "<b>bold</b> & \"quoted\" '{}'\u202e"


def of(run: Path) -> Page:
    return Page(report.of_run(run))


def test_a_training_leaves_a_report_whose_numbers_are_those_of_its_record(run_dir: Path) -> None:
    page = Page((run_dir / "report.html").read_text(encoding="utf-8"))
    assert faults(page, sources_of(run_dir)) == []
    told = {one.attributes["data-from"] for one in page.figures}
    result = json.loads((run_dir / "result.json").read_text())
    for entry in (
        "metrics",
        "per_class",
        "per_subject",
        "confusion_matrix",
        "split_sizes",
        "seconds",
        "score",
        "epochs",
    ):
        for place in leaves(result[entry]):
            assert f"result.json#/{entry}{place}" in told
    assert result["split"]["note"] in page.text
    assert "optimizer.lr=1e-3" in page.text
    assert result["versions"]["torch"] in page.text
    assert result["dataset"]["fingerprint"] in page.text


def test_every_number_of_a_calibrated_run_is_its_files(tmp_path: Path) -> None:
    run = run_in(
        tmp_path / "logs" / "made", leak={"share": 0.991, "queries": 500, "chance": 0.1, "sentence": "it leaks"}
    )
    calibrated(run)
    page = of(run)
    assert faults(page, sources_of(run)) == []
    named = {one.attributes["data-from"].split("#")[0] for one in page.figures}
    assert named == {"result.json", "calibration.json", "metrics.csv", "predictions.csv"}


@pytest.mark.parametrize("place", range(0, 100, 7))
def test_a_number_that_is_changed_on_the_page_is_found(place: int, tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    html = report.of_run(run)
    shown = list(re.finditer(r'data-from="[^"]*">([^<]*\d)', html))[place]
    digit = html[shown.end() - 1]
    changed = html[: shown.end() - 1] + str((int(digit) + 5) % 10) + html[shown.end() :]
    assert len(faults(Page(changed), sources_of(run))) == 1


@pytest.mark.parametrize("entry", ["test/accuracy", "test/nll", "val/f1"])
def test_a_number_that_is_changed_in_the_record_is_found(entry: str, tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    page, sources = of(run), sources_of(run)
    sources["result.json"]["metrics"][entry] += 0.001
    found = {fault.split(":")[0] for fault in faults(page, sources)}
    assert found == {f"result.json#/metrics/{entry.replace('/', '~1')}"}


def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    result = json.loads((run / "result.json").read_text())
    result["per_class"]["ok"] = {"images": 0, "precision": None, "recall": None, "f1": None}
    (run / "result.json").write_text(json.dumps(result))
    page = of(run)
    assert faults(page, sources_of(run)) == []
    assert (
        sum("/per_class/ok/" in one.attributes["data-from"] and one.text == "not measured" for one in page.figures) == 3
    )


def test_names_stay_text_wherever_they_come_from(tmp_path: Path) -> None:
    gestures, people = (NASTY, "fist/~1"), (NASTY, "bob")
    run = run_in(
        tmp_path / "logs" / "made", gestures, people, trained=(NASTY,), data=("data=folder", f"data.root={NASTY}")
    )
    calibrated(run, seen_in_training=True)
    page = of(run)
    assert page.all("b", "script", "i") == []
    assert NASTY in page.text
    assert "val<1>" in page.text
    assert faults(page, sources_of(run)) == []


def test_what_is_no_character_says_so(tmp_path: Path) -> None:
    html = report.of_run(run_in(tmp_path / "logs" / "made", ("palm", "\x00ok\udcff")))
    assert "\ufffdok\ufffd" in html
    assert "\x00" not in html
    assert html.encode("utf-8")


def test_the_page_stands_alone(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    page = of(run)
    for element in page.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster", "xlink:href", "background"):
            link = element.attributes.get(name, "")
            assert link == "" or link.startswith(("#", "data:")), link
        assert not any(name.startswith("on") for name in element.attributes)
    assert page.all("script", "iframe", "object", "embed", "form", "base") == []
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    (policy,) = (one for one in page.all("meta") if one.attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.attributes["content"].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert as_text(STYLE) == STYLE  # what would be escaped would be read as it stands


def test_the_page_can_be_heard(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    calibrated(run)
    page = of(run)
    assert page.all("html")[0].attributes["lang"] == "en"
    levels = [int(one.name[1]) for one in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for drawing in page.all("svg"):
        assert drawing.attributes["role"] == "img"
        assert set(drawing.attributes["aria-labelledby"].split()) <= set(ids)
    captions = [one.text for one in page.all("caption")]
    assert len(captions) == len(set(captions)) == len(page.all("table"))
    assert all(one.attributes["scope"] in ("col", "row") for one in page.all("th"))
    assert all(one.text for one in page.all("title", "desc", "th", "caption"))


def test_behind_every_chart_stands_a_table_of_what_it_draws(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    page = of(run)
    order = [one.name for one in page.all("svg", "table")]
    assert order.count("svg") == 5  # loss, accuracy, people, gestures, reliability
    listed = {one.attributes["data-from"] for one in page.figures}
    assert {
        f"metrics.csv#/rows/{i}/{side}~1{name}"
        for i in range(3)
        for side in ("train", "val")
        for name in ("loss", "accuracy")
    } <= listed
    assert {f"predictions.csv#/scores/{person}" for person in PEOPLE} <= listed
    assert {f"result.json#/per_class/{name}/f1" for name in GESTURES} <= listed
    assert any("/before/bins/" in one for one in listed)


def warnings_of(run: Path) -> str:
    (found,) = [one.text for one in of(run).elements if one.attributes.get("class") == "warning"] or [""]
    return found


def test_an_honest_run_warns_of_nothing(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made", leak={"share": 0.2, "queries": 500, "chance": 0.1, "sentence": "a lookup"})
    calibrated(run)
    assert warnings_of(run) == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"trained": ("ann", "bob", "zoe")}, "2 people of the test were seen in training"),
        (
            {"leak": {"share": 0.991, "queries": 500, "chance": 0.1, "sentence": "a lookup names 99.1 % of this test"}},
            "a lookup names 99.1 % of this test",
        ),
        (
            {"status": "failed", "error": "Traceback\nDiverged: not finite"},
            "not done but failed; here is what it left. Diverged: not finite",
        ),
    ],
)
def test_what_leaks_or_did_not_end_is_said_first(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in warnings_of(run_in(tmp_path / "logs" / "made", **changed))


def test_copies_across_sides_are_warned_of(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    result = json.loads((run / "result.json").read_text())
    result["split"]["identical_images_that_crossed"] = 3
    (run / "result.json").write_text(json.dumps(result))
    assert "3 images of validation and test are identical to one on another side." in warnings_of(run)


def test_a_calibration_on_people_who_trained_is_labelled(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    calibrated(run, seen_in_training=True)
    assert "fitted on people seen in training" in warnings_of(run)


def test_unknown_people_are_warned_of_and_have_no_bars(tmp_path: Path) -> None:
    note = "It is not known whose images these are: people of the test may have been seen in training."
    split = {"name": "random", "subjects": {"train": [], "val": [], "test": []}, "note": note}
    run = run_in(tmp_path / "logs" / "made", people=("",), split=split)
    assert note in warnings_of(run)
    assert [one.attributes["id"] for one in of(run).all("desc") if "people" in one.attributes["id"]] == []


def test_a_run_that_did_not_end_shows_what_it_left(tmp_path: Path) -> None:
    run = run_in(
        tmp_path / "logs" / "made", status="interrupted", metrics={}, per_class={}, per_subject={}, confusion_matrix=[]
    )
    (run / "predictions.csv").unlink()
    page = of(run)
    assert "not done but interrupted" in page.text
    assert len(page.all("svg")) == 2  # its curves


def test_curves_of_one_epoch_are_told_apart_and_level_ones_have_whole_labels(tmp_path: Path) -> None:
    page = of(run_in(tmp_path / "logs" / "made", epochs=1))
    assert {one.attributes["class"] for one in page.all("circle")} >= {"only one", "only two dashed"}
    assert [f"{100 * tick:g}" for tick in ticks_of(0.1, 0.1)] == ["10", "11"]


def test_the_largest_run_is_below_300_kb_without_pictures(tmp_path: Path) -> None:
    gestures = [f"gesture number {i} with a long name" for i in range(120)]
    people = [f"person number {i} of a very large study" for i in range(1000)]
    run = run_in(tmp_path / "logs" / "made", gestures, people[:400], frames=1, epochs=2000)
    calibrated(run)
    assert len(report.of_run(run).encode()) < 300_000
    assert len(report.of_run(run_in(tmp_path / "logs" / "matrix", gestures[:26], people, frames=1)).encode()) < 300_000


def test_mistakes_show_their_images_small_where_these_can_be_read(tmp_path: Path) -> None:
    root = tmp_path / "images"
    run = run_in(tmp_path / "logs" / "made", data=("data=folder", f"data.root={root}"))
    without = of(run)
    assert without.all("img") == []
    for path in read(run / "predictions.csv").paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640), dtype=np.uint8)).save(root / path)
    shown = of(run).all("img")
    assert 0 < len(shown) <= 8
    for one in shown:
        assert one.attributes["src"].startswith("data:image/jpeg;base64,")
        assert len(one.attributes["src"]) < 15_000
        assert " taken for " in one.attributes["alt"]


def test_a_finished_run_stays_done_when_its_report_cannot_be_written(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(run: object) -> str:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("gesture.report.run_page.page", broken)
    assert call(train.main, *tiny, f"hydra.run.dir={tmp_path}") == 0
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "done"
    assert not (tmp_path / "report.html").exists()
    assert "no report: RuntimeError: nobody foresaw this" in capsys.readouterr().out
