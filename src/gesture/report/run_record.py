"""A run as its report and its model card see it: what stands in its directory, and what follows from that."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gesture.config.schema import TrainConfig
from gesture.evaluation.calibration import calibration, tempered
from gesture.evaluation.evaluation import mistake, surest_mistakes
from gesture.evaluation.intervals import mean_over_people
from gesture.evaluation.people import scores
from gesture.report.figures import Figures
from gesture.runs import predictions as predicted
from gesture.runs.directory import RunDirectory
from gesture.runs.files import read_json, read_text
from gesture.runs.predictions import Predictions


@dataclass(frozen=True)
class Recorded:
    """What stands in a run's directory. What a run that did not end lacks is empty."""

    name: str
    config: TrainConfig
    overrides: Sequence[str]
    result: Figures
    """Of result.json."""
    epochs: Figures
    """Of metrics.csv: `rows`, where an epoch without validation has none of its values."""
    test: Predictions | None
    derived: Figures
    """What the test's rows of predictions.csv say beyond result.json."""
    fitted: Figures
    """Of calibration.json."""


def read(path: Path) -> Recorded:
    """What a run directory holds.

    Raises:
        ConfigError: it is no run directory, or damaged.
    """
    directory = RunDirectory(path)
    result = Figures("result.json", directory.read_result())
    rows = _read_epochs(directory.metrics) if directory.metrics.is_file() else []
    test = predicted.read(directory.predictions).of("test") if directory.predictions.is_file() else None
    fitted = Figures("calibration.json", read_json(directory.calibration) if directory.calibration.is_file() else {})
    resolved = path.resolve()
    return Recorded(
        name=f"{resolved.parent.name}/{resolved.name}",
        config=directory.read_config(),
        overrides=directory.read_overrides(),
        result=result,
        epochs=Figures("metrics.csv", {"rows": rows}),
        test=test,
        derived=Figures("predictions.csv", {} if test is None else derive(test, fitted.value("temperature"))),
        fitted=fitted,
    )


def derive(test: Predictions, temperature: float | None) -> dict[str, Any]:
    """What a test's predictions say beyond result.json: people's scores, their mean, calibration, sure mistakes.

    Args:
        test: the predictions of the test.
        temperature: of calibration.json, if the run has one.
    """
    people = scores(test)
    after = None if temperature is None else tempered(test.probabilities, temperature)
    return {
        "scores": people,
        "over_people": asdict(mean_over_people(list(people.values()))) if people else None,
        "before": asdict(calibration(test.probabilities, test.targets)),
        "after": None if after is None else asdict(calibration(after, test.targets)),
        "mistakes": [mistake(test, row) for row in surest_mistakes(test)],
    }


def _read_epochs(path: Path) -> list[dict[str, float]]:
    rows = csv.DictReader(io.StringIO(read_text(path)))
    return [{key: float(value) for key, value in row.items() if key and value} for row in rows]
