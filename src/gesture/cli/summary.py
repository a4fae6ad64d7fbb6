"""What a sweep ends with: its exit code, sweep.csv, and the table of its trials with how to go on with the best."""

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path

from gesture.cli.job import DONE, FAILED, REFUSED
from gesture.config.names import FALLING_MONITORS
from gesture.data.files import counted
from gesture.report.tables import text_table
from gesture.runs.collection import Trial


def exit_code(trials: Sequence[Trial], planned: int) -> int:
    """Of a whole sweep: done, or failed if any trial was not, or refused if all were."""
    statuses = {trial.status for trial in trials}
    if statuses <= {"done"} and len(trials) >= planned:
        return DONE
    return REFUSED if statuses == {"refused"} else FAILED


def differing(trials: Sequence[Trial]) -> dict[str, list[str]]:
    """The settings in which trials differ, each with its value in every trial."""
    typed = [dict(word.partition("=")[::2] for word in trial.overrides) for trial in trials]
    keys = list(dict.fromkeys(key for words in typed for key in words))
    columns = {key: [words.get(key, "") for words in typed] for key in keys}
    return {key: values for key, values in columns.items() if len(set(values)) > 1}


def as_csv(trials: Sequence[Trial]) -> str:
    """A row a trial: name, what differs, status, score, seconds, directory, error."""
    columns = differing(trials)
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(["trial", *columns, "status", "score", "seconds", "directory", "error"])
    for row, trial in enumerate(trials):
        typed = [values[row] for values in columns.values()]
        score = "" if trial.score is None else trial.score
        writer.writerow([trial.name, *typed, trial.status, score, trial.seconds, trial.path, trial.error or ""])
    return page.getvalue()


def summary(trials: Sequence[Trial], sweep_dir: Path) -> str:
    """The table that a sweep ends with, and how to go on with its best trial."""
    columns = differing(trials)
    rows = [
        [
            trial.name,
            *(values[row] for values in columns.values()),
            trial.status,
            "" if trial.score is None else f"{trial.score:.4f}",
            f"{trial.seconds:.0f}",
        ]
        for row, trial in enumerate(trials)
    ]
    heads = ["trial", *(key.rpartition(".")[2] for key in columns), "status", "score", "seconds"]
    title = f"{counted(len(trials), 'trial')} in {shlex.quote(str(sweep_dir))}"
    return "\n".join([text_table(title, heads, rows), *_best(trials, sweep_dir)])


def _best(trials: Sequence[Trial], sweep_dir: Path) -> list[str]:
    done = [trial for trial in trials if trial.status == "done"]
    scored = [trial for trial in done if trial.score is not None]
    monitors = {str(trial.monitor) for trial in scored}
    if not scored:
        return ["No trial that is done has a score." if done else "No trial is done."]
    if len(monitors) > 1:
        return [f"Trials were judged by {' and '.join(sorted(monitors))}, which do not compare."]
    [monitor] = monitors
    best = (min if monitor in FALLING_MONITORS else max)(scored, key=lambda trial: trial.score or 0.0)
    return [
        f"best {monitor}: {best.score:.4f}, {shlex.quote(str(best.path))}",
        f"again: python -m gesture.train {shlex.join(best.overrides)}",
        f"test:  python -m gesture.evaluate {shlex.quote(f'run={best.path}')}",
        f"all:   python -m gesture.compare {shlex.quote(str(sweep_dir))}",
    ]
