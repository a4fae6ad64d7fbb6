"""The model card: every figure is the record's, and a sentence without its figure is not there."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gesture.report import run_record
from gesture.report.figures import decimal, level, share, whole
from gesture.report.model_card import text
from pages import leaves
from reported_runs import calibrated, run_in, sources_of

NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?: %)?(?![\w])")


def card_of(run: Path) -> tuple[dict[str, Any], str]:
    """The front matter, and the text below it."""
    _, front, body = text(run_record.read(run), run / "checkpoints" / "best.ckpt").split("---\n", 2)
    return yaml.safe_load(front), body


def test_a_training_leaves_a_card_beside_its_checkpoint_whose_figures_are_its_records(run_dir: Path) -> None:
    card = (run_dir / "checkpoints" / "model_card.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    assert unknown_numbers(body, run_dir) == []
    result = json.loads((run_dir / "result.json").read_text())
    (entry,) = yaml.safe_load(front)["model-index"]
    (results,) = entry["results"]
    assert results["dataset"]["revision"] == result["dataset"]["fingerprint"]
    measured = {one["name"]: one["value"] for one in results["metrics"]}
    assert measured == {
        f"test/{name}": result["metrics"][f"test/{name}"] for name in ("accuracy", "f1", "precision", "recall")
    }
    assert hashlib.sha256((run_dir / "checkpoints" / "best.ckpt").read_bytes()).hexdigest() in body
    assert result["git"] is None or result["git"]["commit"] in body
    assert "Its images are rendered" not in body  # they are, but were read as LeapGestRecog's


def unknown_numbers(body: str, run: Path) -> list[str]:
    """The numbers of a card's sentences and tables that no number of the run's files is, as it would be written."""
    told = body.partition("## Whom to turn to")[0]
    sources = sources_of(run)
    values = [value for source in sources.values() for value in leaves(source).values() if value is not None]
    subjects = [len(people) for people in sources["result.json"]["split"]["subjects"].values()]
    written = {form(value) for value in [*values, *subjects] for form in (share, decimal, level, whole)}
    settings = {str(side) for side in run_record.read(run).config.data.image_size}
    names = {*sources["result.json"]["class_names"], *sources["predictions.csv"]["scores"]}
    for name in names:
        told = told.replace(name.replace("_", r"\_"), "")
    return [number for number in NUMBER.findall(told) if number.rstrip(",") not in written | settings]


def test_every_number_of_the_card_is_its_runs(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made", leak={"share": 0.2, "queries": 500, "chance": 0.1, "sentence": "a lookup"})
    calibrated(run)
    _, body = card_of(run)
    assert unknown_numbers(body, run) == []
    found = NUMBER.findall(body)
    result = json.loads((run / "result.json").read_text())
    for figure in (share(result["metrics"]["test/accuracy"]), "1.618", "0.432", "90.1 %", "5.7 %", "123,456"):
        assert figure in found
    assert all(share(of["accuracy"]) in body for of in result["per_subject"].values())


@pytest.mark.parametrize("place", range(12))
def test_a_number_that_is_changed_in_the_card_is_found(place: int, tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    calibrated(run)
    body = card_of(run)[1]
    shown = [one for one in NUMBER.finditer(body.partition("## Whom")[0]) if "." in one[0]][place]
    changed = body[: shown.start()] + "97.53 %" + body[shown.end() :]
    assert unknown_numbers(changed, run) == ["97.53 %"]


def test_what_was_not_measured_has_no_sentence(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made")
    whole_card = card_of(run)[1]
    for sentence in ("## People it has never seen", "It names", "interval over people", "## Fairness", "As trained"):
        assert sentence in whole_card
    assert "temperature" not in whole_card
    assert "Rejecting" not in whole_card
    (run / "predictions.csv").unlink()
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(
        json.dumps({**result, "metrics": {}, "per_class": {}, "per_subject": {}, "network": None})
    )
    front, less = card_of(run)
    for sentence in (
        "## Calibration",
        "## Fairness",
        "of people whose images it never saw",
        "interval over people",
        "parameters",
        "None",
        "null",
    ):
        assert sentence not in less
    assert front["metrics"] == []


def test_a_run_on_people_who_trained_does_not_claim_others(tmp_path: Path) -> None:
    run = run_in(tmp_path / "logs" / "made", trained=("ann", "zoe"))
    body = card_of(run)[1]
    assert "This was not measured. 1 people of the test were seen in training" in body
    assert "never saw" not in body


def test_a_card_tells_nothing_of_people_whom_nobody_knows(tmp_path: Path) -> None:
    dataset = {"name": "folder", "fingerprint": "f00", "images": 60, "subjects": 0}
    split = {"name": "random", "subjects": {"train": [], "val": [], "test": []}, "note": "It is not known whose."}
    run = run_in(tmp_path / "logs" / "made", people=("",), epochs=1, dataset=dataset, split=split)
    fitted_on = {"split": "val", "people": [], "images": 12, "seen_in_training": True}
    calibrated(run)
    kept = json.loads((run / "calibration.json").read_text())
    (run / "calibration.json").write_text(json.dumps({**kept, "fitted_on": fitted_on}))
    body = card_of(run)[1]
    assert "It is not known whose hands its 60 images show." in body
    assert "The temperature was fitted on images of people not known" in body
    assert "was trained for 1 epoch on" in body
    assert "**Differential privacy.** Not used." in body
    assert "**Federated learning.** Not used: the images stood in one place." in body
    assert "0 people" not in body


def test_rendered_hands_are_nobodys(tmp_path: Path) -> None:
    body = card_of(run_in(tmp_path / "logs" / "made", data=("data=synthetic",)))[1]
    assert "Its images are rendered: they show nobody." in body
    assert "how it names real ones was not measured" in body
    assert "hands of" not in body


def test_names_are_no_markdown_and_no_html(tmp_path: Path) -> None:
    nasty = "a|b <b>*c*</b> [d](javascript:e)\n# f"
    run = run_in(tmp_path / "logs" / "made", (nasty, "ok"), (nasty, "bob"))
    body = card_of(run)[1]
    assert "<b>" not in body
    assert "[d](" not in body.replace(r"\[d\](", "")
    assert "\n# f" not in body
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in rows)
