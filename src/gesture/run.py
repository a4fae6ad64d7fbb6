"""The run directory: its names, how its files are written, and result.json."""

import csv
import dataclasses
import json
import math
import os
import subprocess
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from gesture.config import ConfigError, TrainConfig, parse
from gesture.process import Interrupted, is_first_process

if TYPE_CHECKING:
    from gesture.data.prepare import Data

RECORDED_VERSIONS = (
    "gesture",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "pillow",
    "kornia-rs",
    "numpy",
)

ADDED_SETTINGS = {"trainer.half_size_fraction": 0.0}
"""Settings that records of earlier versions lack, with the values those versions worked with."""


@dataclass
class Result:
    """What result.json holds; every other command reads it."""

    monitor: str
    seed: int
    versions: dict[str, str]
    git: dict[str, Any] | None
    status: str = "running"
    """running, done, failed or interrupted"""
    class_names: list[str] = field(default_factory=list)
    split_sizes: dict[str, int] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    """The best monitored value, never the last epoch's."""
    best_epoch: int | None = None
    """From 0."""
    epochs: int = 0
    seconds: float = 0.0
    images_per_second: float = 0.0
    """Training steps only."""
    metrics: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    per_subject: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion_matrix: list[list[int]] = field(default_factory=list)
    """Of the test; rows are the true gestures."""
    device: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class RunDirectory:
    """One training with its record."""

    path: Path

    @classmethod
    def of_hydra(cls) -> "RunDirectory":
        """The directory that Hydra made for the job that runs now."""
        from hydra.core.hydra_config import HydraConfig

        return cls(Path(HydraConfig.get().runtime.output_dir))

    @classmethod
    def find(cls, path: Path) -> tuple["RunDirectory", Path]:
        """The run of a directory or of a checkpoint in it, and the checkpoint: the best one unless named.

        Raises:
            ConfigError: there is no run, or it has no checkpoint.
        """
        if path.is_file():
            return cls(path.resolve().parent.parent), path
        run = cls(path)
        if not path.is_dir():
            raise ConfigError(f"run='{path}' does not exist: give a run directory (logs/<name>/<run>) or a checkpoint.")
        if not run.best_checkpoint.is_file():
            other = "give its checkpoints/last.ckpt" if run.last_checkpoint.is_file() else "give a run that has one"
            raise ConfigError(f"run='{path}' has no checkpoints/best.ckpt: {other}.")
        return run, run.best_checkpoint

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best_checkpoint(self) -> Path:
        return self.checkpoints / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.csv"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    def claim(self, config: TrainConfig) -> Result:
        """Take the directory for a run that begins now.

        Raises:
            ConfigError: another run has it; its record would be lost.
        """
        result = Result(config.checkpoint.monitor, config.seed, versions(), git_state())
        if is_first_process():
            try:
                self.result.touch(exist_ok=False)
            except FileExistsError as error:
                raise ConfigError(
                    f"'{self.path}' holds a run already: give another hydra.run.dir or remove it."
                ) from error
            self.write(result)
        return result

    def describe(self, result: Result, config: TrainConfig, overrides: list[str], data: "Data") -> None:
        """Write down what is about to be trained on what."""
        from gesture.data.prepare import describe_split
        from gesture.data.splits import PARTS, to_record

        result.class_names = list(data.samples.class_names)
        result.split_sizes = {part: len(data.split[part]) for part in (*PARTS, "left_out")}
        result.dataset = data.describe()
        result.split = describe_split(config.split, data)
        if is_first_process():
            self.figures.mkdir(exist_ok=True)
            recorded = OmegaConf.structured(config)
            for place in ("root", "cache_dir"):  # a record must hold wherever it is read
                recorded.data[place] = str(Path(recorded.data[place]).expanduser().resolve())
            (self.path / "config.yaml").write_text(OmegaConf.to_yaml(recorded))
            (self.path / "overrides").write_text("".join(f"{line}\n" for line in overrides))
            write_atomically(self.path / "split.json", json.dumps(to_record(data.split, data.samples)))
            self.write(result)

    def write(self, result: Result) -> None:
        """Replace result.json; a reader sees the old one or the new one, whole."""
        if is_first_process():
            write_atomically(self.result, json.dumps(_finite(dataclasses.asdict(result)), indent=1))

    @contextmanager
    def recording(self, result: Result) -> Iterator[None]:
        """Whatever ends the block is written down as the run's status."""
        started = time.monotonic()
        try:
            yield
            result.status = "done"
        except ConfigError:
            if is_first_process():
                self.result.unlink()  # refused: there is no run
            raise
        except Interrupted as interruption:
            result.status, result.error = "interrupted", str(interruption)
            raise
        except BaseException as error:
            result.status, result.error = "failed", "".join(traceback.format_exception(error))
            raise
        finally:
            result.seconds = round(time.monotonic() - started, 2)
            if self.result.exists():
                self.write(result)

    def write_predictions(self, part: str, data: "Data", rows: Any, probabilities: Any) -> None:
        """Append a part's samples: path, subject, gesture, and the probability of every class."""
        samples = data.samples
        with self.predictions.open("a", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(["split", "path", "subject", "gesture", *samples.class_names])
            for row, values in zip(rows, probabilities, strict=True):
                subject = samples.subject_names[samples.subjects[row]] if samples.knows_subjects else ""
                gesture = samples.class_names[samples.gestures[row]]
                writer.writerow([part, samples.paths[row], subject, gesture, *(f"{value:.7g}" for value in values)])

    def read_config(self) -> TrainConfig:
        """The run's configuration.

        Raises:
            ConfigError: there is none.
        """
        recorded = DictConfig(OmegaConf.create(self._read("config.yaml")))
        for key, value in ADDED_SETTINGS.items():
            if OmegaConf.select(recorded, key) is None:
                OmegaConf.update(recorded, key, value)
        return parse(recorded, TrainConfig)

    def read_split(self) -> dict[str, Any]:
        """The record that `gesture.data.splits.to_record` made."""
        record: dict[str, Any] = json.loads(self._read("split.json"))
        return record

    def read_result(self) -> dict[str, Any]:
        """result.json as it stands."""
        result: dict[str, Any] = json.loads(self._read("result.json"))
        return result

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text()
        except OSError as error:
            raise ConfigError(
                f"'{self.path}' has no {name}, so it is no run directory: give logs/<name>/<run>."
            ) from error


def job_overrides() -> list[str]:
    """What was typed for the job that Hydra runs now."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that a crash leaves the old one or the new one."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _finite(value: Any) -> Any:
    """NaN and infinities as null, since JSON has none."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def versions() -> dict[str, str]:
    """Of the packages that figures depend on."""
    return {name: version(name) for name in RECORDED_VERSIONS}


def git_state() -> dict[str, Any] | None:
    """The commit of the source this package runs from, and whether it was changed; None outside of a checkout."""
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(source), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
