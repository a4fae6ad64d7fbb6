"""Fit a network, then validate and test its best checkpoint."""

import atexit
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray

from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig
from gesture.console import shows_bars
from gesture.data import files
from gesture.data.decode import Images
from gesture.data.prepare import Data
from gesture.model import checkpoint as checkpoints
from gesture.model.hardware import Hardware, keep_freed_memory, resolve
from gesture.model.network import GestureNetwork
from gesture.model.normalisation import begin_averages, pixel_statistics, synchronise
from gesture.model.weights import load_weights
from gesture.process import deferred, is_first_process
from gesture.runs.directory import RunDirectory
from gesture.training import summary
from gesture.training import trainer as trainers
from gesture.training.balance import check_people, class_weights
from gesture.training.callbacks import StopInGoodOrder
from gesture.training.checkpoints import CheckpointFiles
from gesture.training.classifier import MEANS, Answers, GestureClassifier
from gesture.training.datamodule import GestureData
from gesture.training.feasibility import check_training
from gesture.training.graphs import GraphedClassifier
from gesture.training.progress import ProgressBar

log = logging.getLogger(__name__)

ROOM_FOR_THE_REST = 20_000_000
"""Bytes for plots, tables, curves and the log."""


@dataclass(frozen=True)
class Components:
    """What one experiment is made of."""

    config: TrainConfig
    hardware: Hardware
    data: GestureData
    classifier: GestureClassifier
    network: dict[str, Any]
    """The size of the network, as `summary.summarise` tells it."""
    class_weights: list[float] | None
    """What each gesture weighs in the loss; None: all the same."""


@dataclass(frozen=True)
class Restart:
    """What a training goes on from."""

    checkpoint: Path
    step: int
    """How many optimizer steps led to it."""
    processes: int
    """How many trained together."""


def build(config: TrainConfig, data: Data, doing: str = "training", has_checkpoint: bool = False) -> Components:
    """The components that a configuration describes, for `doing` what the log says.

    Where there is a checkpoint, it has the weights.

    Raises:
        ConfigError: the accelerator is absent, the weights cannot be had or do not fit, or the network cannot be
            trained on such batches here.
    """
    seed_everything(config.seed, verbose=False)
    hardware = resolve(config.accelerator, config.trainer.precision)
    log.info("%s on %s in %s", doing, hardware.name, hardware.precision)
    if hardware.name == "cpu":
        keep_freed_memory()
    check_people(config, data)
    network = GestureNetwork(config.backbone.name, len(data.samples.class_names))
    if not has_checkpoint:
        load_weights(network, config.backbone)
    if config.network.normalisation == "data":
        network.normalise_pixels(*pixel_statistics(data.images, data.split.train))
        begin_averages(network)
    size = summary.summarise(network)
    if doing == "training":
        check_training(network, config, len(data.split.train), torch.device(hardware.name))
        log.info("%s", summary.table(size))
        if config.trainer.sync_batchnorm:
            synchronise(network, hardware.name)
    network.to(memory_format=hardware.memory_format)
    if hardware.compile:
        network.compile()
    weights = class_weights(config, data)
    # A recorded step would begin its gradients anew where others are to be added to them.
    kind = GraphedClassifier if hardware.graphs and config.trainer.accumulate_grad_batches == 1 else GestureClassifier
    classifier = kind(
        network, config, data.samples.class_names, hardware, None if weights is None else torch.from_numpy(weights)
    )
    listed = None if weights is None else [float(weight) for weight in weights]
    return Components(config, hardware, GestureData(data, config), classifier, size, listed)


def fit_and_test(
    components: Components,
    directory: RunDirectory,
    callbacks: list[Callback],
    loggers: Sequence[Logger],
    restart: Restart | None = None,
) -> dict[str, Answers]:
    """Train, then ask the best checkpoint about val and test; after `fast_dev_run` the only step's weights.

    A training that goes on does so from `restart`.

    Raises:
        ConfigError: `trainer` leaves no batch to train or validate on, or a training goes on in another number of
            processes.
        Diverged: the loss is not finite any more.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; checkpoints/last.ckpt holds the state between two steps.
    """
    atexit.register(_leave_other_processes)
    start = None if restart is None else restart.checkpoint
    with deferred() as request:
        stop = StopInGoodOrder(request, directory.last_checkpoint)
        trainer = trainers.build(components.config, components.hardware, directory, callbacks, loggers, stop)
        trainers.check_batches(trainer, components.data)
        if restart:
            trainers.check_processes(trainer, restart.processes)
        trainer.fit(components.classifier, datamodule=components.data, ckpt_path=start, weights_only=True)
        trainers.tell_of_early_stop(trainer, components.config)
        return _ask_best(trainer, components)


def newest_checkpoint(directory: RunDirectory) -> Restart | None:
    """The last checkpoint a training can go on from, the one before it where that is damaged; None: there was none yet.

    Raises:
        ConfigError: all are damaged.
    """
    there = [path for path in (directory.last_checkpoint, directory.previous_checkpoint) if path.exists()]
    for path in there:
        try:
            content = checkpoints.read(path)
        except ConfigError as error:
            log.warning("%s; it is not used", str(error).rpartition(": ")[0])
        else:
            log.info("going on from %s", path)
            return Restart(path, int(content["global_step"]), len(content[MEANS]))
    if there:
        raise ConfigError(f"'{directory.path}' has no whole checkpoint: remove its checkpoints/ to begin anew.")
    log.info("%s has no checkpoint yet and begins anew", directory.path)
    return None


def check_room(components: Components, directory: RunDirectory) -> None:
    """See that a run's checkpoints have room: the best, the last two with moments and averages, one being written.

    Raises:
        ConfigError: they have not.
    """
    if is_first_process():
        network = int(components.network["bytes"])
        last = (3 + (components.config.trainer.ema_decay is not None)) * network
        there = sum(path.stat().st_size for path in directory.checkpoints.glob("*"))  # of a training that goes on
        files.check_room(directory.path, network + 3 * last + ROOM_FOR_THE_REST - there, directory.setting)


def _leave_other_processes() -> None:
    """Otherwise gloo's threads may outlive the interpreter and abort the process; a sweep's runs share the group."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _ask_best(trainer: Trainer, components: Components) -> dict[str, Answers]:
    best = trainer.checkpoint_callback.best_model_path or None  # type: ignore[union-attr]
    trainer.loggers = []  # the best epoch's validation would look like one more epoch at the end of the curves
    # A checkpoint holds the averages already, and would be swapped with the last ones for its validation.
    own: Any = trainer
    own.callbacks = [each for each in own.callbacks if not isinstance(each, WeightAveraging)]
    answers = {}
    for part, ask in (("val", trainer.validate), ("test", trainer.test)):
        ask(components.classifier, datamodule=components.data, ckpt_path=best, verbose=False, weights_only=True)
        answers[part] = _last_answers(components.classifier)
    return answers


def test(components: Components, checkpoint: Path) -> Answers:
    """What a checkpoint says of the test."""
    trainers.quieten_lightning()
    trainer = Trainer(
        accelerator=components.hardware.name,
        devices=1,
        precision=components.hardware.precision,  # type: ignore[arg-type]
        plugins=[CheckpointFiles(), *trainers.environment(1)],
        logger=False,
        callbacks=[ProgressBar()] if shows_bars() else [],
        benchmark=True,  # as in training, for the same metrics
        enable_checkpointing=False,
        enable_progress_bar=shows_bars(),
        enable_model_summary=False,
    )
    trainer.test(components.classifier, components.data, ckpt_path=checkpoint, verbose=False, weights_only=True)
    return _last_answers(components.classifier)


def ask(components: Components, images: Images) -> NDArray[np.float32]:
    """Probabilities [N, C] of images [N, height, width] of no table, by the network that was tested last."""
    hardware, size = components.hardware, components.data.evaluation_batch_size
    network = components.classifier.network.eval().to(hardware.device)
    found = [np.zeros((0, len(components.classifier.class_names)), dtype=np.float32)]
    with torch.inference_mode(), hardware.autocast():
        for start in range(0, len(images), size):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + size])).unsqueeze(1)
            found.append(network.probabilities(pixels.to(hardware.device)).cpu().numpy())
    return np.concatenate(found)


def _last_answers(classifier: GestureClassifier) -> Answers:
    assert classifier.answers is not None, "an evaluation has ended"
    return classifier.answers
