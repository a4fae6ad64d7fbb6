"""Who is told of curves and plots: TensorBoard, Weights & Biases, MLflow, several of them or none."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from numpy.typing import NDArray

from gesture.config.refusals import ConfigError
from gesture.config.schema import LoggerConfig
from gesture.process import is_first_process
from gesture.runs.directory import RunDirectory
from gesture.runs.files import write_atomically

TOO_TALKATIVE = {
    "mlflow.store": logging.WARNING,  # tells of every table it makes
    "alembic": logging.WARNING,
    "lightning.pytorch.loggers.mlflow": logging.ERROR,  # warns that a new experiment is new
}

KEPT_ID = "run_id"
"""The file below <run>/wandb or <run>/mlflow that names the run there, with which a training goes on."""
Pixels = NDArray[np.uint8]
FINAL = "final/"
"""Before the names of a finished run's metrics, which would otherwise be one more point of the curves."""


class RunLogger(Logger):
    """A logger of Lightning that also takes pictures and the end of a run."""

    def show(self, name: str, pixels: Pixels) -> None:
        """Keep a picture, [H, W, 3]."""
        raise NotImplementedError

    def conclude(self, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Keep what people compare runs by: their settings, with the final metrics."""
        raise NotImplementedError

    def close(self, status: str) -> None:
        """Write what is left and end this run's record; `status` is success or failed."""
        self.finalize(status)


class TensorBoard(TensorBoardLogger, RunLogger):
    """Files below <run>/tensorboard."""

    def __init__(self, directory: RunDirectory, again_from: int | None = None) -> None:
        """What is there already of the steps from `again_from` on is not shown any more."""
        super().__init__(directory.path, name="tensorboard", version="", default_hp_metric=False, purge_step=again_from)

    def show(self, name: str, pixels: Pixels) -> None:
        self.experiment.add_image(name, pixels, dataformats="HWC")

    def conclude(self, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Without final metrics the HPARAMS tab would stay empty."""
        self.log_hyperparams(dict(settings), _final(metrics))


class WeightsAndBiases(WandbLogger, RunLogger):
    """A run of Weights & Biases, with its local files below <run>/wandb."""

    def __init__(self, directory: RunDirectory, project: str, mode: str) -> None:
        from wandb import Settings

        quiet = Settings(console="off", silent=mode == "offline")  # our console has its bars and train.log already
        kept_id = directory.path / "wandb" / KEPT_ID
        if not kept_id.exists():
            kept_id.parent.mkdir(exist_ok=True)
            write_atomically(kept_id, uuid4().hex)
        name, run_id = directory.path.name, kept_id.read_text()
        super().__init__(name, directory.path, id=run_id, project=project, mode=mode, settings=quiet)
        self._wandb_init.pop("anonymous")  # which Lightning passes on, and whose mere presence is warned about

    def show(self, name: str, pixels: Pixels) -> None:
        self.log_image(name, [pixels])

    def conclude(self, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        self.log_hyperparams(dict(settings))
        self.experiment.summary.update(_final(metrics))

    def close(self, status: str) -> None:
        """End the run, or the next one of a sweep would go on writing into it."""
        super().close(status)
        self.experiment.finish(exit_code=0 if status == "success" else 1)


class MLFlow(MLFlowLogger, RunLogger):
    """A run of MLflow, in a server or in <run>/mlflow."""

    def __init__(self, directory: RunDirectory, experiment: str, tracking_uri: str | None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # whoever wants it, sets it
        for teller, level in TOO_TALKATIVE.items():
            logging.getLogger(teller).setLevel(level)
        place = directory.path.resolve() / "mlflow"
        place.mkdir(exist_ok=True)
        kept_id = place / KEPT_ID
        self._told: dict[str, int] = {}
        super().__init__(
            experiment,
            run_name=directory.path.name,
            tracking_uri=tracking_uri or f"sqlite:///{place / 'mlflow.db'}",
            artifact_location=None if tracking_uri else (place / "artifacts").as_uri(),
            run_id=kept_id.read_text() if kept_id.exists() else None,
        )
        if self._run_id is None:
            write_atomically(kept_id, str(self.run_id))
        else:
            self._go_on(self._run_id)

    def _go_on(self, run_id: str) -> None:
        client = self.experiment
        client.update_run(run_id, status="RUNNING")
        for name in client.get_run(run_id).data.metrics:
            self._told[name] = max(point.step for point in client.get_metric_history(run_id, name))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Points that were told before a stop, and come again, are not told twice: MLflow forgets none."""
        fresh = {name: value for name, value in metrics.items() if (step or 0) > self._told.get(name, -1)}
        super().log_metrics(fresh, step)

    def show(self, name: str, pixels: Pixels) -> None:
        self.experiment.log_image(self.run_id, pixels, artifact_file=f"plots/{name}.png")

    def conclude(self, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        self.log_hyperparams(dict(settings))
        self.log_metrics(_final(metrics))


@contextmanager
def opened(config: LoggerConfig, directory: RunDirectory, again_from: int | None = None) -> Iterator[list[RunLogger]]:
    """The chosen loggers of the first process, closed when the block ends; other processes have none.

    A training that goes on, and whose steps from `again_from` on come again, goes on in the runs that it began.

    Raises:
        ConfigError: one of them cannot begin: no key, no server.
    """
    loggers: list[RunLogger] = []
    status = "failed"
    try:
        if is_first_process():
            for name, make in _chosen(config, directory, again_from).items():
                loggers.append(_begun(name, make))
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.close(status)


def _chosen(
    config: LoggerConfig, directory: RunDirectory, again_from: int | None
) -> dict[str, Callable[[], RunLogger]]:
    chosen: dict[str, Callable[[], RunLogger]] = {}
    if config.tensorboard is not None:
        chosen["tensorboard"] = partial(TensorBoard, directory, again_from)
    if config.wandb is not None:
        chosen["wandb"] = partial(WeightsAndBiases, directory, config.wandb.project, config.wandb.mode)
    if config.mlflow is not None:
        chosen["mlflow"] = partial(MLFlow, directory, config.mlflow.experiment, config.mlflow.tracking_uri)
    return chosen


def _begun(name: str, make: Callable[[], RunLogger]) -> RunLogger:
    try:
        logger: Any = make()
        _ = logger.experiment  # Lightning's loggers begin when it is asked for
    except Exception as error:  # each of these packages has its own
        raise ConfigError(
            f"logger={name} cannot begin ({error}): see to its key or its server, or give logger=tensorboard."
        ) from error
    return logger  # type: ignore[no-any-return]


def _final(metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{FINAL}{name}": value for name, value in metrics.items()}
