"""Fit a network, then validate and test its best checkpoint."""

import atexit
import logging
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from gesture.config import ConfigError, TrainConfig
from gesture.data.datamodule import GestureData
from gesture.data.prepare import Data
from gesture.model.classifier import GestureClassifier, Predictions
from gesture.model.network import GestureNetwork
from gesture.model.weights import load_backbone_weights
from gesture.process import Interrupted, deferred
from gesture.run import RunDirectory
from gesture.training.callbacks import LiveBar, StopInGoodOrder
from gesture.training.graphs import GraphedClassifier
from gesture.training.hardware import Hardware, keep_freed_memory, resolve

log = logging.getLogger(__name__)

LOG_EVERY_N_STEPS = 50
"""Each time, the host waits for the device."""

NEEDLESS_WARNINGS = (
    ".*does not have many workers.*",  # batches are gathered from memory
    ".*smaller than the logging interval.*",
    ".*LeafSpec.*",
    ".*callbacks used to create the checkpoint.*",
    ".*exists and is not empty.*",
)


@dataclass(frozen=True)
class Parts:
    """What one experiment is made of."""

    config: TrainConfig
    hardware: Hardware
    data: GestureData
    classifier: GestureClassifier


def build(config: TrainConfig, data: Data) -> Parts:
    """The parts a configuration describes.

    Raises:
        ConfigError: the accelerator is absent, the weights cannot be had or do not fit, or the images are too small.
    """
    seed_everything(config.seed, verbose=False)
    hardware = resolve(config.accelerator, config.trainer.precision)
    log.info("training on %s in %s", hardware.name, hardware.precision)
    if hardware.name == "cpu":
        keep_freed_memory()
    network = GestureNetwork(config.backbone.name, len(data.samples.class_names))
    load_backbone_weights(network.backbone, config.backbone)
    _check_image_size(network, config)
    network.to(memory_format=hardware.memory_format)
    if hardware.compile:
        network.compile()
    module = GestureData(data, config.data, config.augment, config.seed, config.trainer.half_size_fraction)
    kind = GraphedClassifier if hardware.graphs else GestureClassifier
    classifier = kind(network, config, data.samples.class_names, module.steps_per_epoch)
    return Parts(config, hardware, module, classifier)


def _check_image_size(network: GestureNetwork, config: TrainConfig) -> None:
    """Some backbones shrink small images to nothing, and say so in words of their own."""
    height, width = config.data.image_size
    if config.trainer.half_size_fraction:
        height, width = height // 2, width // 2
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 1, height, width, dtype=torch.uint8))
    except (RuntimeError, AssertionError, ValueError) as error:
        other = " or trainer.half_size_fraction=0" if config.trainer.half_size_fraction else ""
        raise ConfigError(
            f"backbone {config.backbone.name} cannot take images of [{height},{width}] pixels ({error}): give a larger "
            f"data.image_size{other}."
        ) from error
    network.train()


@dataclass(frozen=True)
class Outcome:
    """What a finished training found; the figures are of the best checkpoint."""

    metrics: dict[str, float]
    """val/... and test/...: loss, accuracy, precision, recall, f1."""
    predictions: dict[str, Predictions]
    """Of val and test."""


def fit_and_test(
    parts: Parts, directory: RunDirectory, callbacks: list[Callback], logger: TensorBoardLogger
) -> Outcome:
    """Train, then validate and test the best checkpoint once.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; checkpoints/last.ckpt holds the state between two steps.
    """
    atexit.register(_leave_other_processes)
    with deferred() as request:
        stop = StopInGoodOrder(request, directory.last_checkpoint)
        trainer = _trainer(parts, directory, [*callbacks, LiveBar(), stop], logger)
        try:
            trainer.fit(parts.classifier, datamodule=parts.data)
            return _measure_best(trainer, parts)
        except SIGTERMException as error:  # Lightning noticed first
            raise Interrupted(signal.SIGTERM) from error


def _trainer(parts: Parts, directory: RunDirectory, callbacks: list[Callback], logger: TensorBoardLogger) -> Trainer:
    quieten_lightning()
    config = parts.config
    best = ModelCheckpoint(
        directory.checkpoints,
        filename=directory.best_checkpoint.stem,
        monitor=config.checkpoint.monitor,
        mode="min" if config.checkpoint.monitor.endswith("loss") else "max",
        enable_version_counter=False,
    )
    # Not `save_last`: that leaves last.ckpt as it was whenever an epoch was not the best.
    last = ModelCheckpoint(directory.checkpoints, filename=directory.last_checkpoint.stem, enable_version_counter=False)
    trainer = Trainer(
        accelerator=parts.hardware.name,
        devices="auto" if config.trainer.devices == "auto" else int(config.trainer.devices),
        strategy=config.trainer.strategy,
        precision=parts.hardware.precision,  # type: ignore[arg-type]
        max_epochs=config.trainer.max_epochs,
        logger=logger,
        callbacks=[*callbacks, LearningRateMonitor("step"), best, last],
        default_root_dir=directory.path,
        benchmark=True,  # cuDNN tries its algorithms once for each of the few shapes
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the samplers of GestureData deal to processes themselves
        enable_progress_bar=False,  # LiveBar is ours
        enable_model_summary=False,
    )
    # At least once in every epoch, or metrics.csv would lack columns; the more processes, the fewer steps each has.
    trainer.log_every_n_steps = min(LOG_EVERY_N_STEPS, parts.data.steps_per_epoch(trainer.world_size))  # type: ignore
    return trainer


def _leave_other_processes() -> None:
    """Otherwise gloo's threads may outlive the interpreter and abort the process; a sweep's runs share the group."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _measure_best(trainer: Trainer, parts: Parts) -> Outcome:
    best = trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    trainer.loggers = []  # the best epoch's validation would look like one more epoch at the end of the curves
    metrics: dict[str, float] = {}
    predictions = {}
    for part, measure in (("val", trainer.validate), ("test", trainer.test)):
        [values] = measure(parts.classifier, datamodule=parts.data, ckpt_path=best, verbose=False, weights_only=True)
        metrics |= {name: float(value) for name, value in values.items()}
        predictions[part] = gathered(parts.classifier)
    return Outcome(metrics, predictions)


def test(parts: Parts, checkpoint: Path) -> dict[str, float]:
    """The test figures of a checkpoint."""
    quieten_lightning()
    trainer = Trainer(
        accelerator=parts.hardware.name,
        devices=1,
        precision=parts.hardware.precision,  # type: ignore[arg-type]
        logger=False,
        callbacks=[LiveBar()],
        benchmark=True,  # as in training, for the same figures
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    [values] = trainer.test(parts.classifier, parts.data, ckpt_path=checkpoint, verbose=False, weights_only=True)
    return {name: float(value) for name, value in values.items()}


def quieten_lightning() -> None:
    """Keep what helps nobody off the console: the hardware present, advertisements, and these warnings."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers.clear()  # messages reach our handlers through the root logger
    for message in NEEDLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def gathered(classifier: GestureClassifier) -> Predictions:
    """The last evaluation's predictions of all processes, in the order of the table."""
    own = classifier.predictions
    assert own is not None
    shares = [own]
    if torch.distributed.is_initialized():
        shares = [own] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(shares, own)
    rows = torch.cat([share.rows for share in shares])
    order = rows.argsort()
    targets = torch.cat([share.targets for share in shares])
    probabilities = torch.cat([share.probabilities for share in shares])
    return Predictions(rows[order], targets[order], probabilities[order])
