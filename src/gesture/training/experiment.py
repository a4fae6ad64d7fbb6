"""One experiment: prepare the data, train, measure what the best checkpoint says, keep the record."""

import json
import logging
import shlex
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from gesture.config.refusals import ConfigError, RunFailed
from gesture.config.schema import TrainConfig
from gesture.console import note
from gesture.process import Interrupted, held_back, is_first_process
from gesture.runs.directory import RunDirectory, anywhere, sentence_of
from gesture.runs.result import Result
from gesture.training import extras

if TYPE_CHECKING:
    from gesture.data.prepare import Data
    from gesture.evaluation.metrics import Metrics
    from gesture.training.callbacks import EpochRecord
    from gesture.training.fit import Components

log = logging.getLogger(__name__)


Judge = Callable[[int, float], bool]
"""Told after each validation the epoch, from 0, and the monitored value; True ends the training there."""


def run(config: TrainConfig, directory: RunDirectory, overrides: list[str], judge: Judge | None = None) -> Result:
    """Train and test what a configuration describes, in a run directory of its own.

    Raises:
        ConfigError: refused before the start; the directory is left as it was, but that of a sweep's trial says so.
        RunFailed: it failed; the log and result.json say why.
        Interrupted: it was asked to stop; result.json says so and checkpoints/last.ckpt is saved.
    """
    return _recorded(config, directory, directory.claim(config, overrides), judge)


def resume(directory: RunDirectory, judge: Judge | None = None) -> Result:
    """Go on with a run that did not end, from its last whole checkpoint, or from its beginning where it has none.

    Raises:
        ConfigError: there is nothing to go on with, or its images are not those of before.
        RunFailed, Interrupted: as for `run`.
    """
    config = directory.read_config()
    return _recorded(config, directory, directory.reclaim(), judge)


def _recorded(config: TrainConfig, directory: RunDirectory, result: Result, judge: Judge | None) -> Result:
    """Train and test in a directory that is claimed."""
    try:
        with directory.recording(result):
            _refuse_early(config, directory)
            data = _prepare(config, result)
            _train(config, data, directory, result, judge)
    except Interrupted as interruption:
        note(str(interruption))
        _report(directory, result)
        raise
    except Exception as error:
        if result.status != "failed":  # it was refused
            raise
        if sentence := sentence_of(error):
            log.error("%s", sentence)
        else:
            log.exception("failed; %s keeps what there is", directory.path)
        _report(directory, result)
        raise RunFailed(str(error)) from error
    _report(directory, result)
    return result


def _report(directory: RunDirectory, result: Result) -> None:
    """Leave the report of a run that has trained, and its model card if it is done."""
    if is_first_process() and result.epochs:
        with held_back():
            from gesture.report import page

        page.leave_of_run(directory)


def _prepare(config: TrainConfig, result: Result) -> "Data":
    """The data. Each stage is imported once the one before it found no fault: a refusal need not wait for torch."""
    from gesture.config.names import PARTS
    from gesture.data.prepare import prepare
    from gesture.data.whom import describe_split

    data = prepare(config.data, config.split)
    result.class_names = list(data.samples.class_names)
    result.split_sizes = {part: len(data.split[part]) for part in (*PARTS, "left_out")}
    result.dataset = data.describe()
    result.split = describe_split(config.split, data)
    return data


def _train(config: TrainConfig, data: "Data", directory: RunDirectory, result: Result, judge: Judge | None) -> None:
    """From the data to predictions, and from those to all that is known of the run."""
    with held_back():
        from gesture.evaluation.metrics import measure
        from gesture.report import plots, tables
        from gesture.runs import predictions as table
        from gesture.training import fit
        from gesture.training.callbacks import EndWhenBeaten, EpochRecord, FirstBatch
        from gesture.training.loggers import opened

    restart = fit.newest_checkpoint(directory) if result.resumed else None
    components = fit.build(anywhere(config), data, has_checkpoint=restart is not None)
    fit.check_room(components, directory)
    _describe(components, data, directory, result, config.split.seed)
    again_from = None if not result.resumed else 0 if restart is None else restart.step + 1
    with opened(config.logger, directory, again_from) as loggers:
        drawn = plots.Publisher(directory.plots, loggers)
        if restart is None:
            drawn.publish("samples", lambda: plots.sample_grid(data))
        batch = FirstBatch(lambda batch: drawn.publish("training_batch", lambda: plots.batch_grid(batch, data)))
        record = EpochRecord(directory.metrics, config.checkpoint.monitor, partial(_keep_epoch, directory, result))
        judged = [] if judge is None else [EndWhenBeaten(config.checkpoint.monitor, judge)]
        answers = fit.fit_and_test(components, directory, [record, batch, *judged], loggers, restart)
        if not is_first_process():
            return
        predictions = table.of_samples(data.samples, answers, data.views)
        table.write(directory.predictions, predictions)
        _keep_metrics(directory, result, measure(predictions, config.loss, components.class_weights))
        drawn.publish_all(plots.of_result(result, record.rows))
        final = {name: value for name, value in result.metrics.items() if value is not None}
        for logger in loggers:
            logger.conclude(_compared(config), final)
    log.info("%s", tables.summary(result))
    log.info("run directory: %s", shlex.quote(str(directory.path)))


def _describe(components: "Components", data: "Data", directory: RunDirectory, result: Result, seed: int) -> None:
    """Write down what is about to be trained on what."""
    from gesture.data.splits import to_record
    from gesture.evaluation.leak import measure_leak
    from gesture.runs.files import write_atomically

    result.device = components.hardware.describe()
    result.network = components.network
    result.class_weights = components.class_weights
    if is_first_process():
        directory.plots.mkdir(exist_ok=True)
        split = to_record(data.split, data.samples)
        if result.resumed and directory.split.is_file() and directory.read_split() != split:
            raise ConfigError(f"the images of '{directory.path}' are not those it began with: give it those again.")
        write_atomically(directory.split, json.dumps(split))
        leak = measure_leak(data.samples, data.images, data.split, seed)
        result.leak = leak.to_record()
        log.info("%s (%d looked up; its commonest gesture is %.1f %%)", leak.sentence, leak.queries, 100 * leak.chance)
        directory.write(result)


def _keep_epoch(directory: RunDirectory, result: Result, record: "EpochRecord") -> None:
    """Write down after each epoch how far the run is, which is all that a reader has if it is killed."""
    result.epochs, result.images_per_second = len(record.rows), round(record.images_per_second, 1)
    if record.best:
        result.best_epoch, result.score = int(record.best["epoch"]), record.best[result.monitor]
    directory.write(result)


def _keep_metrics(directory: RunDirectory, result: Result, measured: "Metrics") -> None:
    """Write down what the predictions say, before anything is drawn of it."""
    result.metrics, result.per_class = measured.overall, measured.per_class
    result.per_subject, result.confusion_matrix = measured.per_subject, measured.confusion_matrix
    if result.best_epoch is not None:
        result.score = measured.overall[result.monitor]
    directory.write(result)


def _refuse_early(config: TrainConfig, directory: RunDirectory) -> None:
    """What only torch can judge, before the data are prepared; nothing where nothing special is asked for."""
    extras.check_loggers(config.logger)
    if extras.is_unusual(config):
        with held_back():
            from gesture.training import feasibility

        feasibility.check_early(config)
    if config.accelerator.name not in ("auto", "cpu"):
        with held_back():
            from gesture.model import hardware

        hardware.choose(config.accelerator.name)
    if config.backbone.weights != "none" and not directory.has_checkpoint():
        with held_back():
            from gesture.model.network import GestureNetwork
            from gesture.model.weights import load_weights

        load_weights(GestureNetwork(config.backbone.name, 2), config.backbone)


def _compared(config: TrainConfig) -> dict[str, Any]:
    """The settings that people compare runs by."""
    settings = {
        name: value for name, value in asdict(config).items() if name not in ("accelerator", "logger", "launcher")
    }
    return {
        name: {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value
        for name, value in settings.items()
    }
