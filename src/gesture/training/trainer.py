"""The Trainer: everything under `trainer.` and `early_stopping.` as Lightning takes it."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig
from gesture.console import shows_bars
from gesture.data.files import counted
from gesture.model.hardware import Hardware
from gesture.process import slurm_tasks
from gesture.runs.directory import RunDirectory
from gesture.training.callbacks import Curves, StopWhenDiverged
from gesture.training.checkpoints import BestCheckpoint, CheckpointFiles, LastCheckpoint, direction
from gesture.training.datamodule import GestureData, taken
from gesture.training.progress import ProgressBar
from gesture.training.resume import GoOnExactly

log = logging.getLogger(__name__)

PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}

NEEDLESS_WARNINGS = (
    ".*sync_dist=True.*",  # torchmetrics count over all processes by themselves
    ".*does not have many workers.*",  # batches are gathered from memory
    ".*LeafSpec.*",
    ".*`srun` command is available.*",  # wherever Slurm is installed
    ".*callbacks used to create the checkpoint.*",
    ".*exists and is not empty.*",
    ".*Profiler clears events.*",
    ".*Profiler default schedule will be overridden.*",  # in a validation of few batches
    "The `srun` command is available.*",  # on a host with Slurm, a run of one process needs no job
)


def build(
    config: TrainConfig,
    hardware: Hardware,
    directory: RunDirectory,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
    stop: Callback,
) -> Trainer:
    """The Trainer that a configuration describes, with the callbacks that every training has after those given.

    `stop` stands behind those whose work belongs to a step, and before those that judge a validation, which a training
    that is stopped in it does again.
    """
    quieten_lightning()
    settings = config.trainer
    devices, num_nodes = _processes(config, hardware)
    trainer = Trainer(
        accelerator=hardware.name,
        devices=devices,
        num_nodes=num_nodes,
        strategy=_strategy(config, devices * num_nodes),
        precision=hardware.precision,  # type: ignore[arg-type]
        plugins=[CheckpointFiles(), *environment(devices * num_nodes)],
        max_epochs=settings.max_epochs,
        gradient_clip_val=settings.gradient_clip_val,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        limit_train_batches=_limit(settings.limit_train_batches),
        limit_val_batches=_limit(settings.limit_val_batches),
        check_val_every_n_epoch=settings.check_val_every_n_epoch,
        fast_dev_run=settings.fast_dev_run,
        deterministic=settings.deterministic,
        benchmark=not settings.deterministic,  # cuDNN tries its algorithms once for each of the few shapes
        profiler=_profiler(settings.profiler, directory),
        logger=loggers,
        log_every_n_steps=0,  # Curves draws them
        callbacks=[*callbacks, *_callbacks(config, directory, stop)],
        default_root_dir=directory.path,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the samplers of GestureData deal to processes themselves
        enable_progress_bar=shows_bars(),
        enable_model_summary=False,
    )
    _leave_stopping_to_us(trainer)
    return trainer


def _leave_stopping_to_us(trainer: Any) -> None:
    """Lightning would have processes wait for each other before each step, and in the midst of what a signal meets."""
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None
    trainer._signal_connector._sigterm_notifier_fn = lambda signum, frame: None


def _callbacks(config: TrainConfig, directory: RunDirectory, stop: Callback) -> Iterator[Callback]:
    """What training needs beside the callbacks of who asks for it."""
    monitor = config.checkpoint.monitor
    yield GoOnExactly()
    yield StopWhenDiverged()
    yield Curves(config.trainer.log_every_n_steps)
    if shows_bars():
        yield ProgressBar()
    if config.trainer.ema_decay is not None:
        yield EMAWeightAveraging(decay=config.trainer.ema_decay)
    yield stop
    if config.early_stopping.patience is not None:
        patience = config.early_stopping.patience
        yield EarlyStopping(monitor, patience=patience, mode=direction(monitor), check_on_train_epoch_end=False)
    yield BestCheckpoint(directory, monitor)
    yield LastCheckpoint(directory, config.checkpoint.every_n_steps, config.checkpoint.every_minutes)


def _processes(config: TrainConfig, hardware: Hardware) -> tuple[int, int]:
    """Devices of this host, each with its process, and hosts; torchrun and srun have decided them for theirs."""
    if torch.distributed.is_torchelastic_launched():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, int(os.environ["WORLD_SIZE"]) // local
    if slurm_tasks() > 1:
        hosts = int(os.environ["SLURM_STEP_NUM_NODES"])
        return slurm_tasks() // hosts, hosts
    if config.trainer.devices == "auto":
        return torch.cuda.device_count() if hardware.name == "cuda" else 1, config.trainer.num_nodes
    return int(config.trainer.devices), config.trainer.num_nodes


def environment(processes: int) -> list[ClusterEnvironment]:
    """What tells the processes of a run from each other, where that is not to be left to Lightning.

    Lightning takes whatever runs in a job of Slurm's for one of its tasks, and when it is stopped queues the job again
    by itself, with a checkpoint of its own.
    """
    if torch.distributed.is_torchelastic_launched():
        return []
    if slurm_tasks() > 1:
        return [SLURMEnvironment(auto_requeue=False)]
    return [LightningEnvironment()] if processes == 1 or "SLURM_JOB_ID" in os.environ else []


def _strategy(config: TrainConfig, processes: int) -> str:
    """Lightning's name of how processes work together.

    While a backbone is frozen its parameters get no gradients, for which the others would wait, unless DDP looks in
    each step which ones do. It has to know all of them from the start, or the thawed ones would drift apart.
    """
    name = config.trainer.strategy
    if config.backbone.freeze_epochs and processes > 1 and name in ("auto", "ddp"):
        return "ddp_find_unused_parameters_true"
    return name


def _limit(limit: float) -> float | int:
    """A limit as Lightning takes it: a float is a share, a whole number a number."""
    return limit if limit <= 1 else int(limit)


def check_batches(trainer: Trainer, data: GestureData) -> None:
    """See that every epoch has something to train on and to validate on.

    Raises:
        ConfigError: a limit leaves nothing, or there are too many processes for the images.
    """
    world = trainer.world_size
    evaluated = -(-len(data.data.split.val) // (world * data.evaluation_batch_size))
    for name, batches in (("train", data.batches(world)), ("val", evaluated)):
        limit = getattr(trainer, f"limit_{name}_batches")
        if taken(batches, limit) == 0:
            raise ConfigError(
                f"trainer.limit_{name}_batches={limit} leaves none of an epoch's batches ({batches} in each process): "
                "give a larger share, or a number of 2 and more."
            )


def check_processes(trainer: Trainer, before: int) -> None:
    """See that a training goes on as it began: with another number of processes its batches would be others.

    Raises:
        ConfigError: it does not.
    """
    if trainer.world_size != before:
        raise ConfigError(
            f"the run was trained by {before} process{'es' * (before > 1)} and would go on with {trainer.world_size}: "
            f"start as many, under torchrun with --nproc-per-node."
        )


def _profiler(name: str | None, directory: RunDirectory) -> Profiler | None:
    """Lightning's profiler, which writes its report of each stage below <run>/profiler."""
    return None if name is None else PROFILERS[name](directory.path / "profiler", name)


def tell_of_early_stop(trainer: Trainer, config: TrainConfig) -> None:
    """Say in the log why there are fewer epochs than were asked for."""
    if trainer.early_stopping_callback and trainer.early_stopping_callback.stopped_epoch:
        log.info(
            "stopped early: %s did not become better in %s",
            config.checkpoint.monitor,
            counted(trainer.early_stopping_callback.wait_count, "validation"),
        )


def quieten_lightning() -> None:
    """Keep what helps nobody off the console: the hardware present, advertisements, and these warnings."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers.clear()  # messages reach our handlers through the root logger
    for message in NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
