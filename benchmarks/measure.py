"""Repetitions side by side, their median and spread, and what they ran on."""

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich import print as show
from rich.table import Table

from gesture.runs.result import versions

OUTPUT = Path("logs/benchmarks")
RESAMPLES = 10_000


@dataclass(frozen=True)
class Measured:
    """One quantity, several times."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    def __str__(self) -> str:
        return f"{_readable(self.median)} ({_readable(min(self.values))} to {_readable(max(self.values))})"


def _readable(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def side_by_side(
    arms: Mapping[str, Callable[[], Mapping[str, float]]], repetitions: int, uncounted: int = 1
) -> dict[str, Measured]:
    """Run the arms in turn, A B A B ..., after a round that does not count: a machine's moods touch all alike.

    An arm gives one or more quantities by name; the rows are "arm, quantity".
    """
    rounds = [
        {f"{name}, {quantity}": value for name, arm in arms.items() for quantity, value in arm().items()}
        for _ in range(uncounted + repetitions)
    ][uncounted:]
    return {name: Measured(tuple(one[name] for one in rounds)) for name in rounds[0]}


def ratio(over: Measured, under: Measured) -> Measured:
    """Round by round."""
    return Measured(tuple(a / b for a, b in zip(over.values, under.values, strict=True)))


def mean_and_interval(measured: Measured) -> Measured:
    """The mean, with the least and the most that 95 % of resampled repetitions (bootstrap) give."""
    values, generator = np.array(measured.values), np.random.default_rng(0)
    means = generator.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Measured((float(low), float(values.mean()), float(high)))


def processor() -> str:
    """The processor's name and number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"{named}, {os.cpu_count()} cores"


def report(name: str, rows: Mapping[str, Measured], conditions: Mapping[str, Any]) -> None:
    """Print a table and write logs/benchmarks/<name>.json."""
    table = Table(
        title=f"{name}: median (least to most), n = {len(next(iter(rows.values())).values)}", title_justify="left"
    )
    table.add_column("")
    table.add_column("", justify="right")
    for label, measured in rows.items():
        table.add_row(label, str(measured))
    show(table)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    record: dict[str, Any] = {
        "hardware": {"cpu": processor(), "gpu": gpu},
        "versions": versions(),
        "conditions": dict(conditions),
    }
    record["measured"] = {label: {"median": row.median, "values": row.values} for label, row in rows.items()}
    OUTPUT.mkdir(parents=True, exist_ok=True)
    path = OUTPUT / f"{name}.json"
    path.write_text(json.dumps(record, indent=1))
    print(path)
