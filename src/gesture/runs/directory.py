"""The run directory: what its files are called, who may have it, and how a run's end is written down."""

import dataclasses
import logging
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gesture.config import recorded
from gesture.config.names import PARTS
from gesture.config.refusals import ConfigError, Diverged
from gesture.config.schema import TrainConfig
from gesture.config.words import of_runs
from gesture.console import close_log, goes_on_with
from gesture.data.locks import exclusive
from gesture.model.files import check_file
from gesture.process import Interrupted, is_first_process
from gesture.runs.files import make_atomically, read_json, read_text, to_json, write_atomically
from gesture.runs.result import Result, misfits_of, pid_of, status_of
from gesture.workers import WorkerLost
from gesture.writing import FREE_SOME, NO_ROOM

log = logging.getLogger(__name__)

MADE = (
    *("result.json", "config.yaml", "overrides", "split.json", "checkpoints", "metrics.csv", "predictions.csv"),
    "calibration.json",
    *("plots", "tensorboard", "wandb", "mlflow", "profiler"),
)
"""What a run makes in its directory, beside its log, which Hydra begins."""
MOST_YAML = 2**21
"""Bytes of config.yaml; YAML takes hundreds of times its size to read."""


@dataclass(frozen=True)
class RunDirectory:
    """One training with its record."""

    path: Path
    is_trial: bool = False
    """One of a sweep, which keeps its directory when it is refused."""

    @classmethod
    def of_hydra(cls) -> "RunDirectory":
        """The directory that Hydra made for the job that runs now."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf

        hydra = HydraConfig.get()
        is_trial = not OmegaConf.is_missing(hydra.job, "num")  # which launchers give
        return cls(Path(hydra.runtime.output_dir), is_trial)

    @classmethod
    def find(cls, path: Path) -> tuple["RunDirectory", Path]:
        """The run of a directory or of a checkpoint in it, and the checkpoint: the best one unless named.

        Raises:
            ConfigError: there is no run, it has no checkpoint, or the file is none.
        """
        if path.is_file():
            check_file(path)
            return cls(path.resolve().parent.parent), path
        run = cls(path)
        if not path.is_dir():
            raise ConfigError(f"run='{path}' does not exist: give a run directory (logs/<name>/<run>) or a checkpoint.")
        if not run.best_checkpoint.is_file():
            other = "give its checkpoints/last.ckpt" if run.last_checkpoint.is_file() else "give a run that has one"
            raise ConfigError(f"run='{path}' has no checkpoints/best.ckpt: {other}.")
        return run, run.best_checkpoint

    @property
    def setting(self) -> str:
        """What moves the directory."""
        return "hydra.sweep.dir" if self.is_trial else "hydra.run.dir"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def overrides(self) -> Path:
        return self.path / "overrides"

    @property
    def split(self) -> Path:
        return self.path / "split.json"

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
    def previous_checkpoint(self) -> Path:
        return self.checkpoints / "previous.ckpt"

    def has_checkpoint(self) -> bool:
        """Whether there is one that a training may go on from."""
        return self.last_checkpoint.exists() or self.previous_checkpoint.exists()

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.csv"

    @property
    def calibration(self) -> Path:
        """What evaluate fitted on the run's validation."""
        return self.path / "calibration.json"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def log(self) -> Path:
        return self.path / "train.log"

    @property
    def files(self) -> list[Path]:
        """Where the files and folders are that a run makes, its log first; not all need be there."""
        return [self.log, *(self.path / name for name in MADE)]

    def claim(self, config: TrainConfig, overrides: list[str]) -> Result:
        """Take the directory for a run that begins now, and say in it what was asked for.

        Raises:
            ConfigError: it holds anything of another run, whose record would be mixed with this one's.
        """
        result = Result(str(self.path), config.checkpoint.monitor, config.seed)
        if is_first_process():
            self._take(result)
            try:
                write_atomically(self.config, recorded.to_yaml(anywhere(config)))
                write_atomically(self.overrides, _lines(overrides))
            except BaseException:  # a full disk, or a request to stop: no run has begun
                self.release()
                raise
        return result

    def reclaim(self) -> Result:
        """Take the directory again for its run, which has not ended and is nobody's work now.

        Raises:
            ConfigError: there is no such run, it is done, or somebody works on it.
        """
        with self._alone():
            record = self.read_result()
            status = status_of(record)
            if status == "done":
                raise ConfigError(f"'{self.path}' is done: there is nothing to go on with.")
            if status == "running" and is_first_process():
                process = record.get("process", {})
                elsewhere = "; if that host has gone, write interrupted for running into result.json"
                raise ConfigError(
                    f"'{self.path}' is being worked on by process {process.get('pid')} of {process.get('host')}: wait "
                    f"for it, or stop it{'' if pid_of(record) else elsewhere}."
                )
            result = Result.of(str(self.path), record)
            self.write(result)
        return result

    def _take(self, result: Result) -> None:
        """Make result.json, which only one process can."""
        if self._was_never_begun():
            with self._alone():
                if self._was_never_begun():
                    self.result.unlink()
        held = self._held()
        if not held:
            with suppress(FileExistsError):
                make_atomically(self.result, result.to_json())
                return
        close_log(self.log)  # or the refusal would be written into the other's
        raise ConfigError(
            f"'{self.path}' holds a run already ({(held or [self.result.name])[0]}): give another "
            f"{self.setting}, or remove it."
        )

    def _alone(self) -> AbstractContextManager[None]:
        """The block runs in one at a time of the processes that would take what another left."""
        return exclusive(self.path / ".lock", "taking the directory")

    def _was_never_begun(self) -> bool:
        """Whether whoever claimed the directory was killed before it said for what."""
        try:
            return self._held() == [self.result.name] and status_of(self.read_result()) == "died"
        except ConfigError:
            return False

    def _held(self) -> list[str]:
        """What is there of a run, this one's own log aside."""
        held = [name for name in MADE if (self.path / name).exists()]
        return [*held, *([self.log.name] if goes_on_with(self.log) else [])]

    def release(self) -> None:
        """Leave the directory as it was before the claim."""
        if is_first_process():
            close_log(self.log)
            for path in self.files:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def write(self, result: Result) -> None:
        """Replace result.json; a reader sees the old one or the new one, whole."""
        if is_first_process():
            write_atomically(self.result, result.to_json())

    @contextmanager
    def recording(self, result: Result) -> Iterator[None]:
        """Write down as the run's status whatever ends the block; a refused run of its own leaves nothing.

        One that was to go on and is refused keeps what it has.
        """
        started, seconds, epochs = time.monotonic(), result.seconds, result.epochs
        try:
            yield
            result.status = "done"
        except BaseException as error:
            result.status = _status_after(error, has_trained=result.epochs > epochs)
            result.error = sentence_of(error) or "".join(traceback.format_exception(error))
            raise
        finally:
            result.seconds = round(seconds + time.monotonic() - started, 2)
            if result.status == "refused" and result.resumed:
                result.status = "interrupted"
                self._write_end(result)
            elif result.status == "refused" and not self.is_trial:
                self.release()
            else:
                self._write_end(result)

    def _write_end(self, result: Result) -> None:
        try:
            self.write(result)
        except OSError as error:  # a full disk, most of all; whatever ended the run is what matters
            log.error("result.json of %s still says running, since it cannot be written: %s", self.path, error)

    def note_refusal(self, sentence: str, overrides: list[str]) -> None:
        """Say in a trial's directory why it was refused, unless it says so already or holds another run."""
        if not self._held():
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.overrides, _lines(overrides))
            write_atomically(self.result, to_json({"status": "refused", "error": sentence}))

    def note_end(self, status: str, sentence: str) -> None:
        """Say of a run that was killed how it ended, which it could not say itself."""
        write_atomically(self.result, to_json({**self.read_result(), "status": status, "error": sentence}))

    def leave(self) -> None:
        """Remove a directory in which no run has begun."""
        if not self._held():
            self.release()
            with suppress(OSError):  # somebody's files are in it
                self.path.rmdir()

    def read_config(self) -> TrainConfig:
        """The run's configuration, whatever version recorded it.

        Raises:
            ConfigError: there is none, or it is damaged.
        """
        return recorded.from_yaml(read_text(self.config, MOST_YAML), str(self.config))

    def was_asked_for(self, config: TrainConfig) -> bool:
        """Whether this run is one of just these settings."""
        try:
            return self.read_config() == anywhere(config)
        except ConfigError:
            return False

    def read_split(self) -> dict[str, Any]:
        """What `gesture.data.splits.to_record` made; raises ConfigError if there is none or it is damaged."""
        record = read_json(self.split)
        parts = [record.get(part) for part in PARTS]
        if not all(isinstance(part, list) and all(isinstance(path, str) for path in part) for part in parts):
            raise ConfigError(f"'{self.split}' is damaged: it lacks {', '.join(PARTS[:-1])} or {PARTS[-1]}.")
        return record

    def read_result(self) -> dict[str, Any]:
        """result.json as it stands; raises ConfigError if there is none or it is damaged."""
        record = read_json(self.result)
        if not isinstance(record.get("status"), str):
            raise ConfigError(f"'{self.result}' is damaged: it has no status.")
        if misfits := misfits_of(record):
            raise ConfigError(f"'{self.result}' is damaged: its {misfits[0]} is none.")
        return record

    def read_overrides(self) -> list[str]:
        """What was typed for the run; nothing where that was not written down."""
        return read_text(self.overrides).splitlines() if self.overrides.is_file() else []


def sentence_of(error: BaseException) -> str | None:
    """What says all of an error in one sentence; None where only its traceback does."""
    if isinstance(error, ConfigError | Diverged | WorkerLost | Interrupted):
        return str(error)
    if not isinstance(error, OSError) or error.errno not in NO_ROOM:
        return None
    if error.strerror is None:  # one of ours, a sentence already
        return str(error)
    where = f" for '{error.filename}'" if error.filename else ""
    return f"a disk has no room{where} ({error.strerror}): {FREE_SOME}, or give a folder on another disk."


def _status_after(error: BaseException, has_trained: bool) -> str:
    """What a run is that ended so; one that has trained was not refused, and keeps what it has."""
    if isinstance(error, Interrupted):
        return "interrupted"
    return "refused" if isinstance(error, ConfigError) and not has_trained else "failed"


def _lines(words: list[str]) -> str:
    return "".join(f"{word}\n" for word in words)


def anywhere(config: TrainConfig) -> TrainConfig:
    """The configuration with places that hold wherever it is read; what only its command was told is not part of it."""
    data = dataclasses.replace(
        config.data, root=_absolute(config.data.root), cache_dir=_absolute(config.data.cache_dir)
    )
    return dataclasses.replace(config, data=data, resume=None, sweep=None, launcher=None)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def job_overrides() -> list[str]:
    """What was typed for the job that Hydra runs now."""
    from hydra.core.hydra_config import HydraConfig

    return of_runs(HydraConfig.get().overrides.task)
