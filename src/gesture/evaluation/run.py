"""A run as a comparison sees it: its settings, its test's people, its curve."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gesture.config.names import FALLING_MONITORS
from gesture.config.refusals import ConfigError
from gesture.evaluation.people import scores
from gesture.runs import predictions
from gesture.runs.collection import Trial
from gesture.runs.directory import RunDirectory
from gesture.runs.files import read_text
from gesture.runs.settings import Settings, of_trial

Scores = dict[str, float]
"""By person, each in [0, 1]."""

RANDOM = "random"
"""The split that puts everybody on all sides."""
CONTENT = "data.content"
"""Stands among a run's settings for what its images hold."""


@dataclass(frozen=True)
class Run:
    """What a run directory tells, whether it is done or not."""

    trial: Trial
    settings: Settings
    scores: Scores
    """Of the people of its test; empty where it is not done, or nobody knows whose images they are."""
    people_were_seen: bool
    """Some of its test's people are in its training too."""
    accuracy: float | None
    """Over the test's images."""
    curve: dict[str, list[float | None]]
    """By epoch, from 0."""


def read(trial: Trial) -> Run:
    """What a trial's directory tells."""
    directory = RunDirectory(trial.path)
    try:
        record = directory.read_result()
    except ConfigError:  # which the trial says already
        record = {}
    tested: Scores = {}
    if trial.status == "done":
        try:
            tested = scores(predictions.read(directory.predictions).of("test"))
        except ConfigError as error:
            trial = replace(trial, error=str(error))
    content = (record.get("dataset") or {}).get("fingerprint")
    return Run(
        trial,
        {**of_trial(trial), **({CONTENT: content} if content else {})},
        tested,
        _were_seen(record),
        (record.get("metrics") or {}).get("test/accuracy"),
        _curve(directory),
    )


def _were_seen(record: Mapping[str, Any]) -> bool:
    split = record.get("split") or {}
    people = split.get("subjects") or {}
    return split.get("name") == RANDOM or bool({*people.get("train", ())} & {*people.get("test", ())})


def _curve(directory: RunDirectory) -> dict[str, list[float | None]]:
    """Validation accuracy by epoch; empty where none has ended."""
    if not directory.metrics.is_file():
        return {}
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(directory.metrics))))
        return {
            name: [float(row[name]) if row.get(name) else None for row in rows] for name in ("epoch", "val/accuracy")
        }
    except (ConfigError, ValueError, KeyError):  # cut off, as a full disk leaves it
        return {}


def rank(run: Run) -> tuple[bool, bool, str, float]:
    """Sorts runs: those that are done first, the best score first."""
    score, monitor = run.trial.score, str(run.trial.monitor)
    if score is None:
        return run.trial.status != "done", True, monitor, 0.0
    return run.trial.status != "done", False, monitor, score if monitor in FALLING_MONITORS else -score


def joined(runs: Sequence[Run], aside: Sequence[str], groups_aside: Sequence[str] = ()) -> dict[str, list[Run]]:
    """The runs that agree in everything but the settings and groups set aside."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(key_of(run.settings, aside, groups_aside), []).append(run)
    return found


def key_of(settings: Settings, aside: Sequence[str], groups_aside: Sequence[str] = ()) -> str:
    """Equal where settings are, but for those set aside."""
    kept = {k: v for k, v in settings.items() if k not in aside and k.partition(".")[0] not in groups_aside}
    return repr(sorted(kept.items()))


def record_of(run: Run, differs: Settings) -> dict[str, Any]:
    """What comparison.json holds of a run."""
    trial = run.trial
    return {
        "path": str(trial.path),
        "name": trial.name,
        "status": trial.status,
        "score": trial.score,
        "monitor": trial.monitor,
        "test/accuracy": run.accuracy,
        "seconds": trial.seconds,
        "error": trial.error,
        "differs": differs,
    }
