"""predictions.csv: what a network said of each validation and test image; all that comes after is a view of it."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gesture.config.refusals import ConfigError, Diverged
from gesture.data.files import read_regular
from gesture.data.samples import UNKNOWN, Indices, Samples
from gesture.runs.files import ANY_NAME, write_atomically

COLUMNS: tuple[str, ...] = ("split", "path", "subject", "gesture", "frame", "view")
PROBABILITY = "p:"
"""Begins the columns of probabilities, so that a gesture called `path` meets no other column."""
COLUMNS_OF_VERSION_1: tuple[str, ...] = ("split", "path", "subject", "gesture")


@dataclass(frozen=True)
class Predictions:
    """N samples with the probabilities that a network gave them, in the order of the file."""

    class_names: tuple[str, ...]
    """The C gestures in the order of the probabilities."""
    splits: tuple[str, ...]
    """val or test"""
    paths: tuple[str, ...]
    subjects: tuple[str, ...]
    """Empty where it is not known whose image it is."""
    targets: NDArray[np.int64]
    """[N] the gesture shown, an index into `class_names`."""
    frames: NDArray[np.int64]
    """[N]"""
    views: tuple[str, ...]
    """Empty where the view is not known."""
    probabilities: NDArray[np.float32]
    """[N, C]"""

    def __len__(self) -> int:
        return len(self.paths)

    def of(self, split: str) -> "Predictions":
        """The rows of one side."""
        return self.take([row for row, name in enumerate(self.splits) if name == split])

    def take(self, rows: Sequence[int]) -> "Predictions":
        """The table of these rows."""
        index = np.asarray(rows, dtype=np.int64)
        return Predictions(
            class_names=self.class_names,
            splits=tuple(self.splits[row] for row in rows),
            paths=tuple(self.paths[row] for row in rows),
            subjects=tuple(self.subjects[row] for row in rows),
            targets=self.targets[index],
            frames=self.frames[index],
            views=tuple(self.views[row] for row in rows),
            probabilities=self.probabilities[index],
        )

    def with_probabilities(self, probabilities: NDArray[np.float32]) -> "Predictions":
        """The same images with what another network, or several, say of them: [N, C]."""
        return dataclasses.replace(self, probabilities=probabilities)


def of_samples(
    samples: Samples, answers: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float32]]], views: Indices | None = None
) -> Predictions:
    """The table of what was said of rows of the samples.

    Args:
        samples: the table of images.
        answers: for each side its rows [N] and their probabilities [N, C].
        views: of all samples, as `gesture.data.views` guesses them; None: not known.

    Raises:
        Diverged: a probability is no finite number.
    """
    if not all(np.isfinite(values).all() for _, values in answers.values()):
        raise Diverged("the network's answers are no finite numbers: lower optimizer.lr.")
    rows = np.concatenate([rows for rows, _ in answers.values()])
    names, seen = samples.subject_names, [UNKNOWN] * len(rows) if views is None else views[rows].tolist()
    return Predictions(
        class_names=samples.class_names,
        splits=tuple(split for split, (rows, _) in answers.items() for _ in rows),
        paths=tuple(samples.paths[row] for row in rows),
        subjects=tuple(names[samples.subjects[row]] if samples.knows_subjects else "" for row in rows),
        targets=samples.gestures[rows],
        frames=samples.frames[rows],
        views=tuple("" if view == UNKNOWN else str(view) for view in seen),
        probabilities=np.concatenate([values for _, values in answers.values()]).astype(np.float32),
    )


def write(path: Path, predictions: Predictions) -> None:
    """Write the whole table at once; its digits are those that tell one float32 from the next."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"{PROBABILITY}{name}" for name in predictions.class_names)])
    columns = zip(
        predictions.splits,
        predictions.paths,
        predictions.subjects,
        (predictions.class_names[target] for target in predictions.targets),
        predictions.frames.tolist(),
        predictions.views,
        predictions.probabilities.astype(str).tolist(),
        strict=True,
    )
    writer.writerows([*row, *probabilities] for *row, probabilities in columns)
    write_atomically(path, page.getvalue())


def read(path: Path) -> Predictions:
    """The table that `write` of this or an earlier version wrote.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    try:
        text = read_regular(path).decode("utf-8", errors=ANY_NAME)
        if not text.endswith("\n"):
            raise ValueError("the end is cut off")
        head, *rows = csv.reader(io.StringIO(text, newline=""))
        return _from_rows(head, rows)
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror}): give a run that ended.") from error
    except (ValueError, KeyError, csv.Error) as error:
        raise ConfigError(f"'{path}' is damaged: it is no table of predictions.") from error


def _from_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Predictions:
    fixed = next((names for names in (COLUMNS, COLUMNS_OF_VERSION_1) if tuple(head[: len(names)]) == names), None)
    if fixed is None:
        raise ValueError("other columns")
    class_names = tuple(name.removeprefix(PROBABILITY) if fixed == COLUMNS else name for name in head[len(fixed) :])
    if any(len(row) != len(head) for row in rows):
        raise ValueError("a row is cut off")
    index = {name: i for i, name in enumerate(class_names)}
    probabilities = np.array([row[len(fixed) :] for row in rows], dtype=np.float32).reshape(-1, len(class_names))
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is no finite number")

    def column(name: str, otherwise: Any) -> list[Any]:
        return [row[fixed.index(name)] if name in fixed else otherwise for row in rows]

    return Predictions(
        class_names=class_names,
        splits=tuple(column("split", "")),
        paths=tuple(column("path", "")),
        subjects=tuple(column("subject", "")),
        targets=np.array([index[name] for name in column("gesture", "")], dtype=np.int64),
        frames=np.array(column("frame", 0), dtype=np.int64),
        views=tuple(column("view", "")),
        probabilities=probabilities,
    )
