"""Many runs: what the directories of a sweep hold."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gesture.config.refusals import ConfigError
from gesture.runs.directory import RunDirectory
from gesture.runs.result import pid_of, status_of
from gesture.writing import FREE_SOME


@dataclass(frozen=True)
class Trial:
    """One run of a sweep, as its directory tells."""

    path: Path
    name: str
    """Its directory's, as it stands below the sweep's."""
    overrides: list[str]
    """What was typed for it."""
    status: str
    """As in result.json, or died (it says running, and nobody works on it any more), or damaged."""
    score: float | None
    monitor: str | None
    """What the score is a value of."""
    seconds: float
    error: str | None
    process: dict[str, Any]
    """Who works on it, or did last."""

    @property
    def lacked_room(self) -> bool:
        """Whether it ended for want of room on a disk."""
        return FREE_SOME in (self.error or "")


def collect(sweep_dir: Path) -> list[Trial]:
    """The trials below a sweep's directory, in the order of their numbers."""
    return [_trial(folder, sweep_dir) for folder in sorted(_folders(sweep_dir), key=_number)]


def trial_of(folder: Path, sweep_dir: Path) -> Trial | None:
    """The trial whose directory this is; None where none has begun."""
    return _trial(folder, sweep_dir) if RunDirectory(folder).result.is_file() else None


def runs_in(folder: Path) -> list[Trial]:
    """The run whose directory this is, or those below it."""
    own = trial_of(folder, folder.parent)
    return collect(folder) if own is None else [own]


def runs_of(places: Sequence[str]) -> list[Trial]:
    """The runs of directories, of folders that hold some at any depth, and of patterns (globs), each once.

    Raises:
        ConfigError: nothing is named, there is no such folder, or it holds no run.
    """
    if not places:
        raise ConfigError("runs=[] names no run: give run directories, sweeps' directories or a pattern.")
    found: dict[Path, Trial] = {}
    for place in places:
        trials = [trial for folder in matching(place) for trial in runs_in(folder)]
        if not trials:
            raise ConfigError(f"'{place}' holds no run: give run directories, sweeps' directories or a pattern.")
        for trial in trials:
            found.setdefault(trial.path.resolve(), trial)
    names = [trial.name for trial in found.values()]
    return [trial if names.count(trial.name) == 1 else replace(trial, name=str(trial.path)) for trial in found.values()]


def matching(place: str) -> list[Path]:
    """The folder or file of this name, or else those that it matches as a pattern."""
    named = Path(place).expanduser()
    if named.exists():
        return [named]
    with suppress(ValueError):  # `**` beside other letters is no pattern
        return sorted(Path(named.anchor or ".").glob(str(named.relative_to(named.anchor))))
    return []


def training_in(sweep_dir: Path) -> dict[Path, int]:
    """The directories of the trials on which other processes of this host work, and these processes' numbers."""
    found = {folder: pid_of(_record(RunDirectory(folder))[0]) for folder in _folders(sweep_dir)}
    return {folder: pid for folder, pid in found.items() if pid is not None and pid != os.getpid()}


def _folders(sweep_dir: Path) -> list[Path]:
    found = [path.parent for path in sweep_dir.rglob("result.json")]
    return [folder for folder in found if folder != sweep_dir]


def _number(folder: Path) -> tuple[int, str]:
    number = folder.name.partition("-")[0]
    return int(number) if number.isdigit() else -1, folder.name


def _trial(folder: Path, sweep_dir: Path) -> Trial:
    run = RunDirectory(folder)
    record, status = _record(run)
    error = record.get("error")
    return Trial(
        path=folder,
        name=str(folder.relative_to(sweep_dir)),
        overrides=run.read_overrides(),
        status=status,
        score=record.get("score"),
        monitor=record.get("monitor"),
        seconds=record.get("seconds") or 0.0,
        error=error.strip().splitlines()[-1] if error else None,
        process=record.get("process") or {},
    )


def _record(run: RunDirectory) -> tuple[dict[str, Any], str]:
    try:
        record = run.read_result()
    except ConfigError as error:
        return {"error": str(error)}, "damaged"
    return record, status_of(record)
