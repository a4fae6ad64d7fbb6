"""Run directories as trainings leave them, written without one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gesture.config import recorded
from gesture.config.compose import compose
from gesture.runs import predictions
from gesture.runs.directory import RunDirectory, anywhere
from gesture.runs.files import to_json

IMAGES = 20
"""Of each gesture by each person."""
GESTURES = ("fist", "palm")


def made_run(
    folder: Path,
    people: Mapping[str, float],
    *words: str,
    trained_on: Sequence[str] = ("aa", "bb"),
    status: str = "done",
    score: float | None = 0.5,
) -> Path:
    """A run whose test's people score so, each a number of 1 / IMAGES; the words are what was typed for it."""
    folder.mkdir(parents=True)
    config = compose("train", ["data=synthetic", *words])
    (folder / "config.yaml").write_text(recorded.to_yaml(anywhere(config)), encoding="utf-8")
    (folder / "overrides").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    (folder / "metrics.csv").write_text("epoch,val/accuracy\n0,0.25\n1,\n2,0.5\n", encoding="utf-8")
    record = {
        "status": status,
        "score": score,
        "monitor": "val/accuracy",
        "seconds": 2.0,
        "metrics": {"test/accuracy": 0.75},
        "dataset": {"fingerprint": "0123"},
        "split": {"name": config.split.name, "subjects": {"train": list(trained_on), "test": list(people)}},
        "error": "Traceback\nRuntimeError: no memory\n" if status == "failed" else None,
    }
    (folder / "result.json").write_text(to_json(record), encoding="utf-8")
    if status == "done":
        predictions.write(RunDirectory(folder).predictions, _table(people))
    return folder


def _table(people: Mapping[str, float]) -> predictions.Predictions:
    rows = [
        (person, gesture, image < round(score * IMAGES))
        for person, score in people.items()
        for gesture in range(len(GESTURES))
        for image in range(IMAGES)
    ]
    named = [gesture if is_right else 1 - gesture for _, gesture, is_right in rows]
    return predictions.Predictions(
        class_names=GESTURES,
        splits=("test",) * len(rows),
        paths=tuple(f"{row}.png" for row in range(len(rows))),
        subjects=tuple(person for person, _, _ in rows),
        targets=np.array([gesture for _, gesture, _ in rows], dtype=np.int64),
        frames=np.arange(len(rows)),
        views=("",) * len(rows),
        probabilities=np.eye(len(GESTURES), dtype=np.float32)[named],
    )
