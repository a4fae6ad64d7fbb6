"""A finished run's directory as training leaves it, of random answers instead of a network's; and its numbers."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gesture.config import recorded
from gesture.config.compose import compose
from gesture.config.schema import LossConfig
from gesture.evaluation.calibration import calibration, tempered
from gesture.evaluation.intervals import mean_over_people
from gesture.evaluation.metrics import measure
from gesture.evaluation.people import scores
from gesture.runs import predictions as table
from gesture.runs.directory import RunDirectory
from gesture.runs.predictions import Predictions
from gesture.runs.result import Result

GESTURES = ("palm", "fist", "ok")
PEOPLE = ("ann", "bob", "cid", "dan", "eve")


def answers(class_names: Sequence[str], people: Sequence[str], frames: int, seed: int = 0) -> Predictions:
    """For validation and test `frames` images of each gesture of each person; about three of four are named rightly."""
    draw = np.random.default_rng(seed)
    cells = [
        (split, person, gesture, frame)
        for split in ("val", "test")
        for person in people
        for gesture in range(len(class_names))
        for frame in range(frames)
    ]
    targets = np.array([gesture for _, _, gesture, _ in cells], dtype=np.int64)
    logits = draw.normal(size=(len(cells), len(class_names)))
    logits[np.arange(len(cells)), targets] += 2.0
    exponentials = np.exp(logits)
    return Predictions(
        class_names=tuple(class_names),
        splits=tuple(split for split, *_ in cells),
        paths=tuple(f"{person}/{class_names[gesture]}/{frame}.png" for _, person, gesture, frame in cells),
        subjects=tuple(person for _, person, _, _ in cells),
        targets=targets,
        frames=np.array([frame for *_, frame in cells], dtype=np.int64),
        views=("",) * len(cells),
        probabilities=(exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def run_in(
    path: Path,
    class_names: Sequence[str] = GESTURES,
    people: Sequence[str] = PEOPLE,
    frames: int = 4,
    epochs: int = 3,
    trained: Sequence[str] = ("zoe",),
    data: Sequence[str] = ("data=folder", "data.root=nowhere"),
    **changed: Any,
) -> Path:
    """A run's directory; `changed` are entries of result.json that differ from an honest one's."""
    path.mkdir(parents=True)
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    directory = RunDirectory(path)
    config = compose("train", [*data, "split=subject"])
    directory.config.write_text(recorded.to_yaml(config), encoding="utf-8")
    directory.overrides.write_text("".join(f"{word}\n" for word in data), encoding="utf-8")
    predictions = answers(class_names, people, frames)
    table.write(directory.predictions, predictions)
    measured = measure(predictions, LossConfig(0.0, False, "none"))
    seen = sorted(set(people) & set(trained))
    note = (
        f"{len(seen)} people of the test were seen in training: this says little about others." if seen else "None was."
    )
    result = Result(
        directory=str(path),
        monitor="val/accuracy",
        seed=3,
        status="done",
        score=measured.overall["val/accuracy"],
        best_epoch=epochs - 1,
        epochs=epochs,
        seconds=12.34,
        images_per_second=321.0,
        metrics=measured.overall,
        per_class=measured.per_class,
        per_subject=measured.per_subject,
        confusion_matrix=measured.confusion_matrix,
        class_names=list(class_names),
        split_sizes={
            "train": 77,
            "val": len(predictions.of("val")),
            "test": len(predictions.of("test")),
            "left_out": 0,
        },
        dataset={
            "name": "folder",
            "fingerprint": "f00",
            "images": 200,
            "subjects": 7,
            "gestures": 3,
            "identical_images": 2,
        },
        split={
            "name": "subject",
            "identical_images_that_would_have_crossed": 0,
            "identical_images_that_crossed": 0,
            "subjects": {"train": list(trained), "val": list(people), "test": list(people)},
            "note": note,
        },
        network={"layers": 9, "parameters": 123456, "bytes": 493824, "parts": {}},
        device={"accelerator": "cpu", "precision": "32-true"},
    )
    record = {**json.loads(result.to_json()), **changed}
    directory.result.write_text(json.dumps(record), encoding="utf-8")
    columns = ["epoch", "train/loss", "train/accuracy", "val/loss", "val/accuracy"]
    rows = [
        [epoch, 2 / (epoch + 1), 1 - 0.5 / (epoch + 1), 2.5 / (epoch + 1), 1 - 0.6 / (epoch + 1)]
        for epoch in range(epochs)
    ]
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    directory.metrics.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def calibrated(path: Path, seen_in_training: bool = False) -> None:
    """Leave what evaluate leaves in a run's directory."""
    content = {
        "version": 1,
        "temperature": 1.618,
        "threshold": 0.432,
        "wanted": {"coverage": 0.9},
        "coverage": 0.901,
        "error": 0.0567,
        "fitted_on": {"split": "val", "people": ["val<1>"], "images": 60, "seen_in_training": seen_in_training},
    }
    (path / "calibration.json").write_text(json.dumps(content), encoding="utf-8")


def sources_of(run: Path) -> dict[str, Any]:
    """What the numbers of a run's report must be equal to, read from its files anew."""
    test = table.read(run / "predictions.csv").of("test")
    people = scores(test)
    kept = run / "calibration.json"
    fitted = json.loads(kept.read_text()) if kept.exists() else {}
    named = test.probabilities.argmax(axis=1)
    surest: dict[tuple[str, int, int], float] = {}  # one wrong name for one person's gesture is one mistake
    for row in np.flatnonzero(named != test.targets):
        kind = (test.subjects[row] or test.paths[row], int(test.targets[row]), int(named[row]))
        surest[kind] = max(surest.get(kind, 0.0), float(test.probabilities[row, named[row]]))
    after = calibration(tempered(test.probabilities, fitted["temperature"]), test.targets) if fitted else None
    rows = [
        {name: float(one) for name, one in row.items() if one} for row in csv.DictReader((run / "metrics.csv").open())
    ]
    return {
        "result.json": json.loads((run / "result.json").read_text()),
        "calibration.json": fitted,
        "metrics.csv": {"rows": rows},
        "predictions.csv": {
            "scores": people,
            "over_people": asdict(mean_over_people(list(people.values()))),
            "before": asdict(calibration(test.probabilities, test.targets)),
            "after": asdict(after) if after else None,
            "mistakes": [{"probability": one} for one in sorted(surest.values(), reverse=True)],
        },
    }
