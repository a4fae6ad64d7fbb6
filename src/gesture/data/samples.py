"""The table of samples: which image shows whose hand making which gesture."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from gesture.config.names import PARTS
from gesture.data.files import FileTree

Indices = Int64[np.ndarray, "_"]
UNKNOWN = -1


@dataclass(frozen=True)
class Samples:
    """N images below one root; all arrays have the shape [N] and one order."""

    dataset: str
    files: FileTree
    paths: tuple[str, ...]
    """Relative to the root, with forward slashes."""
    subjects: Indices
    """Index into `subject_names`, or UNKNOWN."""
    gestures: Indices
    """Index into `class_names`."""
    frames: Indices
    """Position in the recorded sequence."""
    subject_names: tuple[str, ...]
    class_names: tuple[str, ...]
    taken_once: int = 0
    """Files left out because the archive holds the same frame twice."""
    sides: Indices | None = None
    """Index into `PARTS` where folders train/, val/ and test/ below the root say it."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Indices) -> "Samples":
        """The table of these rows, with the same names and so the same class indices."""
        return dataclasses.replace(
            self,
            paths=tuple(self.paths[row] for row in rows),
            subjects=self.subjects[rows],
            gestures=self.gestures[rows],
            frames=self.frames[rows],
            sides=None if self.sides is None else self.sides[rows],
        )

    def with_classes(self, names: Sequence[str]) -> "Samples":
        """The same table with gestures numbered by other names; those not among them are UNKNOWN."""
        index_of = {name: i for i, name in enumerate(names)}
        renumbered = np.array([index_of.get(name, UNKNOWN) for name in self.class_names], dtype=np.int64)
        return dataclasses.replace(self, gestures=renumbered[self.gestures], class_names=tuple(names))

    def without_empty(self) -> "Samples":
        """The same table without the gestures and people of whom it has no image."""
        shown = np.unique(self.gestures)
        some = self.with_classes([self.class_names[i] for i in shown])
        if not self.knows_subjects:
            return some
        people, subjects = np.unique(self.subjects, return_inverse=True)
        return dataclasses.replace(some, subjects=subjects, subject_names=tuple(self.subject_names[i] for i in people))

    @property
    def knows_subjects(self) -> bool:
        return len(self.subject_names) > 0


@dataclass(frozen=True)
class Row:
    """One image as a data set's naming describes it; `subject` is None where nothing tells."""

    path: str
    subject: str | None
    gesture: str
    frame: int
    side: str | None = None
    """One of `PARTS`, where a folder says it."""


def table(dataset: str, files: FileTree, rows: Sequence[Row], taken_once: int = 0) -> Samples:
    """Rows as arrays, ordered by subject, gesture, frame and path. Subjects count only if every row has one."""
    rows = sorted(rows, key=lambda row: (row.subject or "", row.gesture, row.frame, row.path))
    class_names = tuple(sorted({row.gesture for row in rows}, key=_natural))
    subject_names = tuple(sorted({row.subject for row in rows if row.subject is not None}, key=_natural))
    if any(row.subject is None for row in rows):
        subject_names = ()
    subject_index = {name: i for i, name in enumerate(subject_names)}
    class_index = {name: i for i, name in enumerate(class_names)}
    return Samples(
        dataset=dataset,
        files=files,
        paths=tuple(row.path for row in rows),
        subjects=np.array([subject_index.get(row.subject or "", UNKNOWN) for row in rows], dtype=np.int64),
        gestures=np.array([class_index[row.gesture] for row in rows], dtype=np.int64),
        frames=np.array([row.frame for row in rows], dtype=np.int64),
        subject_names=subject_names,
        class_names=class_names,
        taken_once=taken_once,
        sides=None if any(row.side is None for row in rows) else np.array([PARTS.index(str(row.side)) for row in rows]),
    )


def every_nth_frame(samples: Samples, stride: int) -> Samples:
    """The first frame of each subject's sequence of each gesture and every `stride`-th after it."""
    if stride == 1:
        return samples
    order = np.lexsort((samples.frames, samples.gestures, samples.subjects))
    sequences = samples.subjects[order] * len(samples.class_names) + samples.gestures[order]
    starts = np.flatnonzero(np.diff(sequences, prepend=sequences[:1] - 1))
    position = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return samples.take(np.sort(order[position % stride == 0]))


def _natural(name: str) -> tuple[int, int, str]:
    """Numbers by value and before words, so that 2 comes before 10."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
