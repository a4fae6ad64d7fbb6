"""One experiment: prepare the data, train, test the best checkpoint, keep the record."""

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gesture.command import RunFailed
from gesture.config import ConfigError, TrainConfig
from gesture.process import is_first_process
from gesture.run import Result, RunDirectory

if TYPE_CHECKING:
    from lightning.pytorch.loggers import TensorBoardLogger

    from gesture.data.prepare import Data
    from gesture.training.callbacks import EpochRecord
    from gesture.training.fit import Outcome, Parts

log = logging.getLogger(__name__)


def run(config: TrainConfig, directory: RunDirectory, overrides: list[str]) -> Result:
    """Train and test what a configuration describes, in a run directory of its own.

    Raises:
        ConfigError: refused before the start; the directory is left as it was.
        RunFailed: it failed; the log and result.json say why.
        Interrupted: it was asked to stop; result.json says so and checkpoints/last.ckpt is saved.
    """
    result = directory.claim(config)
    try:
        with directory.recording(result):
            _refuse_early(config)

            from gesture.data.prepare import prepare  # each stage is imported once the one before it found no fault

            data = prepare(config.data, config.split)

            from gesture.training import fit

            parts = fit.build(config, data)
            directory.describe(result, config, overrides, data)
            result.device = parts.hardware.describe()
            _run(parts, directory, result)
    except ConfigError:
        raise
    except Exception as error:
        log.exception("failed; %s keeps what there is", directory.path)
        raise RunFailed(str(directory.path)) from error
    return result


def _refuse_early(config: TrainConfig) -> None:
    """What only torch can judge, before the data are prepared; nothing where nothing special is asked for."""
    if config.accelerator.name not in ("auto", "cpu"):
        from gesture.training import hardware

        hardware.choose(config.accelerator.name)
    if config.backbone.weights != "none":
        from gesture.model.network import GestureNetwork
        from gesture.model.weights import load_backbone_weights

        load_backbone_weights(GestureNetwork(config.backbone.name, 2).backbone, config.backbone)


def _run(parts: "Parts", directory: RunDirectory, result: Result) -> None:
    """Fit, test and write down."""
    from lightning.pytorch.loggers import TensorBoardLogger

    from gesture.report import figures, tables
    from gesture.training import fit
    from gesture.training.callbacks import EpochRecord, FirstBatch

    data = parts.data.data
    logger = TensorBoardLogger(directory.path, name="tensorboard", version="", default_hp_metric=False)
    record = EpochRecord(directory.metrics, parts.config.checkpoint.monitor)

    def show_batch(batch: Any) -> None:
        figure = figures.batch_grid(batch.images.cpu().numpy(), batch.targets.tolist(), result.class_names)
        figures.publish(figure, "training_batch", directory.figures, logger)

    if is_first_process():
        figures.publish(figures.sample_grid(data), "samples", directory.figures, logger)
    try:
        outcome = fit.fit_and_test(parts, directory, [record, FirstBatch(show_batch)], logger)
    finally:
        _note_training(result, record)
    if is_first_process():
        _note_outcome(result, outcome, data)
        for part, found in outcome.predictions.items():
            directory.write_predictions(part, data, found.rows.tolist(), found.probabilities.tolist())
        _publish_figures(result, record.rows, directory, logger)
        _publish_hyperparameters(parts.config, result, logger)
        log.info("%s", tables.summary(result))
        log.info("run directory: %s", directory.path)


def _note_training(result: Result, record: "EpochRecord") -> None:
    result.epochs = len(record.rows)
    result.images_per_second = round(record.images_per_second, 1)
    if record.best:
        result.best_epoch = int(record.best["epoch"])
        result.score = record.best[result.monitor]


def _note_outcome(result: Result, outcome: "Outcome", data: "Data") -> None:
    from gesture.model import metrics

    test = outcome.predictions["test"]
    result.metrics = outcome.metrics
    result.confusion_matrix = metrics.confusion_matrix(test.probabilities, test.targets)
    result.per_class = metrics.per_class(test.probabilities, test.targets, data.samples.class_names)
    result.per_subject = metrics.per_subject(test.probabilities, data.samples, test.rows.numpy())


def _publish_figures(
    result: Result, rows: list[dict[str, float]], directory: RunDirectory, logger: "TensorBoardLogger"
) -> None:
    from gesture.report import figures

    drawn = {
        "curves": figures.curves(rows, result.best_epoch or 0),
        "confusion_matrix": figures.confusion(result.confusion_matrix, result.class_names),
        "per_class": figures.bars({k: v["f1"] for k, v in result.per_class.items()}, "Test by gesture", "F1"),
    }
    if result.per_subject:
        people = {name: values["accuracy"] for name, values in result.per_subject.items()}
        drawn["per_subject"] = figures.bars(people, "Test by person", "accuracy")
    for name, figure in drawn.items():
        figures.publish(figure, name, directory.figures, logger)


def _publish_hyperparameters(config: TrainConfig, result: Result, logger: "TensorBoardLogger") -> None:
    """What people compare runs by, with the final figures, without which the HPARAMS tab stays empty."""
    settings = {name: value for name, value in asdict(config).items() if name != "accelerator"}
    for group, values in settings.items():
        if isinstance(values, dict):
            settings[group] = {name: value for name, value in values.items() if value is not None}
    logger.log_hyperparams(settings, {f"final/{name}": value for name, value in result.metrics.items()})
    logger.finalize("success")
