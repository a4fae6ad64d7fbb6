"""What a search ends with: its table, the best setting as an experiment of its own, plots, and how to watch it."""

import shlex
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from gesture import console
from gesture.cli.space import Space
from gesture.cli.study import Study
from gesture.cli.summary import as_csv
from gesture.data.files import counted
from gesture.report import plots
from gesture.report.tables import text_table
from gesture.runs.collection import Trial
from gesture.runs.files import write_atomically

SHOWN = 10
"""Settings in the table; sweep.csv has them all."""


def sum_up(study: Study, space: Space, loader: Any) -> None:
    """Keep and show what a search has found by now."""
    rows = study.rows(space.given)
    if not rows:
        return
    write_atomically(study.sweep_dir / "sweep.csv", as_csv(rows))
    best_first = sorted(
        (row for row in rows if row.score is not None), key=lambda row: row.score or 0.0, reverse=study.rising
    )
    console.say(_table(rows, best_first, study.sweep_dir))
    for (status, error), number in Counter((row.status, row.error) for row in rows if row.error).most_common(SHOWN):
        console.say(f"{number} {status}: {error}")
    if not best_first:
        console.say("No trial is done.")
        return
    best = best_first[0]
    head = f"{study.monitor} {best.score:.4f}, the best of {counted(len(rows), 'setting')}"
    file = study.sweep_dir / "experiment" / "best.yaml"
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, as_experiment([*best.overrides, *_folds(study)], head, loader))
    _draw(study, rows)
    again = ["python", "-m", "gesture.train", f"--config-dir={study.sweep_dir}", "experiment=best"]
    console.say(f"best {study.monitor}: {best.score:.4f}, {shlex.quote(str(best.path))}")
    console.say(f"again: {shlex.join(again)}")
    console.say(f"watch: optuna-dashboard {shlex.quote(study.url)}")


def _folds(study: Study) -> list[str]:
    """The split that a search over folds judged by; the first fold, unless another is given."""
    folds = study.settings.folds
    return [] if folds is None else ["split=fold", f"split.folds={folds}"]


def _table(rows: Sequence[Trial], best_first: Sequence[Trial], sweep_dir: Path) -> str:
    shown = [*best_first, *(row for row in rows if row.score is None)][:SHOWN]
    lines = [
        [row.name, row.status, "" if row.score is None else f"{row.score:.4f}", f"{row.seconds:.0f}"] for row in shown
    ]
    statuses = Counter(row.status for row in rows)
    of = ", ".join(f"{number} {status}" for status, number in statuses.items())
    title = f"{counted(len(rows), 'setting')} in {shlex.quote(str(sweep_dir))}: {of}"
    return text_table(title, ["setting", "status", "score", "seconds"], lines)


def as_experiment(words: Sequence[str], head: str, loader: Any) -> str:
    """Words as a file that `experiment=` takes."""
    defaults: list[Any] = []
    settings = OmegaConf.create()
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
        key, value = override.key_or_group, override.value()
        if key == "experiment":
            defaults.insert(0, value)
        elif loader.repository.group_exists(key):
            defaults.append({f"override /{key}": value})
        else:
            OmegaConf.update(settings, key, value)
    listed = OmegaConf.create({"defaults": [*defaults, "_self_"]})
    return f"# @package _global_\n# {head}\n{OmegaConf.to_yaml(listed)}{OmegaConf.to_yaml(settings)}"


def _draw(study: Study, rows: Sequence[Trial]) -> None:
    """The scores in the order of the trials, and what they depend on."""
    folder = study.sweep_dir / "plots"
    folder.mkdir(exist_ok=True)
    publisher = plots.Publisher(folder, [])
    publisher.publish("history", lambda: plots.history([row.score for row in rows], study.monitor, study.rising))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is experimental, and few trials tell little
        try:
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            weights = optuna.importance.get_param_importances(study.optuna, evaluator=evaluator)
        except (ValueError, RuntimeError):  # too few trials, or all alike
            return
    if weights:
        publisher.publish(
            "importances", lambda: plots.bars(weights, "What the score depends on", "importance", mean=False)
        )
