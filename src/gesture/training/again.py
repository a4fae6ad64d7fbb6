"""A finished run asked again: its network, its precision, and its images or others."""

import dataclasses
import logging
import math
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gesture.config.checks import check_training
from gesture.config.parts import completed
from gesture.config.refusals import ConfigError
from gesture.config.schema import (
    AcceleratorConfig,
    DataConfig,
    EvaluateConfig,
    LeapGestRecog,
    SplitConfig,
    Synthetic,
    TrainConfig,
)
from gesture.data.decode import Images
from gesture.data.files import make_writable
from gesture.data.prepare import Data, prepare_other, prepare_recorded
from gesture.data.samples import Indices
from gesture.data.sources import synthetic
from gesture.process import held_back
from gesture.runs import predictions
from gesture.runs.directory import RunDirectory
from gesture.runs.predictions import Predictions

if TYPE_CHECKING:
    from gesture.training.fit import Components

log = logging.getLogger(__name__)

ROUNDING = 1e-5
"""Largest relative difference of two sums of float32 over the same images in another order."""
EXACT_FROM = 0.012
"""Smaller values are compared as this one: the logarithm of a float32 close to 1 is exact to 1.2e-7 at best."""

Record = dict[str, Any]
Measured = dict[str, float | None]


@dataclass(frozen=True)
class Finished:
    """A run that has trained, and one of its checkpoints."""

    run: RunDirectory
    checkpoint: Path
    record: Record
    """What its result.json holds."""
    config: TrainConfig
    split: Record
    """What its split.json holds."""

    @property
    def is_best(self) -> bool:
        """Whether the checkpoint is the one whose predictions the run recorded."""
        best = self.run.best_checkpoint
        return best.is_file() and self.checkpoint.samefile(best)

    @property
    def class_names(self) -> list[str]:
        names: list[str] = self.record["class_names"]
        return names

    @property
    def trained(self) -> set[str]:
        """The people whose images it trained on, as far as they are known."""
        return set((self.record.get("split") or {}).get("subjects", {}).get("train", ()))


@dataclass(frozen=True)
class Questions:
    """The images that a finished run is asked about."""

    data: Data
    """Those of its `test` part."""
    config: TrainConfig
    """The run's, with what the data and the split are now."""
    foreign: Mapping[str, Indices]
    """The rows of each gesture that the run does not know."""


def find(path: str) -> Finished:
    """The run of a directory or checkpoint that a person names.

    Raises:
        ConfigError: there is no such run, or it is damaged.
    """
    run, checkpoint = RunDirectory.find(Path(path).expanduser())
    if not run.result.is_file():
        raise ConfigError(f"run='{path}' is not part of a run, whose split it takes: give logs/<name>/<run>.")
    record, config, split = run.read_result(), run.read_config(), run.read_split()
    if not record.get("class_names") or not {"accelerator", "precision"} <= set(record.get("device") or ()):
        raise ConfigError(f"'{run.result}' does not say what was trained: give a run that began to train.")
    return Finished(run, checkpoint, record, config, split)


def questions(finished: Finished, wish: EvaluateConfig) -> Questions:
    """The images that are asked about: the test that the run recorded, or that of other data or another split.

    Raises:
        ConfigError: the images are gone, or show no gesture of the run's; a setting is none.
    """
    if wish.data is None and wish.split is None:
        return Questions(_recorded_data(finished, wish), finished.config, {})
    data = _other_images(finished.config, wish)
    split: SplitConfig | None = None
    if wish.split is not None:
        split = completed("split", wish.split, finished.config.split)
    config = dataclasses.replace(finished.config, data=data, split=split or finished.config.split)
    check_training(dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, weights="none")))
    found, foreign = prepare_other(data, split, finished.class_names)
    return Questions(found, config, foreign)


def _other_images(config: TrainConfig, wish: EvaluateConfig) -> DataConfig:
    """Where the images are; what is not said of others is as the run had it, but that all of them are taken."""
    if wish.data is None:
        return _placed(dataclasses.replace(config.data, root=wish.root or config.data.root), wish)
    if wish.root:
        raise ConfigError("root tells where the run's own data are, and others are given: leave out root or data.")
    taken = dataclasses.replace(config.data, exclude=[], stride=1, cache_dir=_cache_dir(config.data, wish))
    data: DataConfig = completed("data", wish.data, taken)
    return data


def compare(metrics: Measured, recorded: Mapping[str, float | None]) -> str:
    """One sentence on whether the metrics are those of result.json, and how far from them if rounding tells them apart.

    Sums over the same images in another order, as versions before this one or other processors took them, differ.
    """
    common = [name for name in metrics if name in recorded]
    if not common:
        return "The run recorded no test: it did not end by itself."
    furthest = max(common, key=lambda name: _distance(metrics[name], recorded[name]))
    distance = _distance(metrics[furthest], recorded[furthest])
    if distance == 0:
        return "The same metrics as the run recorded."
    if distance <= ROUNDING:
        return f"The same metrics as the run recorded, but for rounding ({furthest} by {distance:.0e} of its value)."
    shown = ", ".join(f"{name} {number(recorded[name])}" for name in common)
    return f"The run recorded other metrics: {shown}. Other images, hardware or versions give others."


def _distance(one: float | None, other: float | None) -> float:
    """How far apart two values are, as a share of the larger one; infinite if only one was measured."""
    if one is None or other is None:
        return 0 if one is other else math.inf
    return abs(one - other) / max(abs(one), abs(other), EXACT_FROM)


def number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.6f}"


def own_images(finished: Finished, asked: Questions, wish: EvaluateConfig) -> Data | None:
    """The run's images with its split, if they can still be read; for that none is fetched or rendered."""
    if asked.config is finished.config:
        return asked.data
    data = asked.config.data if wish.data is None else finished.config.data
    if isinstance(data, Synthetic) and not synthetic.is_rendered(data):
        return None
    if isinstance(data, LeapGestRecog):
        data = dataclasses.replace(data, download=False)
    try:
        return prepare_recorded(_placed(data, wish), finished.split, finished.class_names)
    except ConfigError as error:
        log.warning("what the run has seen of these images is not known: %s", str(error).rstrip("."))
        return None


def _recorded_data(finished: Finished, wish: EvaluateConfig) -> Data:
    recorded = finished.config.data
    data = _placed(dataclasses.replace(recorded, root=wish.root or recorded.root), wish)
    return prepare_recorded(data, finished.split, finished.class_names)


def _placed(data: DataConfig, wish: EvaluateConfig) -> DataConfig:
    """The run's data where they are here."""
    return dataclasses.replace(data, root=_root(data, wish), cache_dir=_cache_dir(data, wish))


def _root(data: DataConfig, wish: EvaluateConfig) -> str:
    """Where the images are; hands are rendered again, anywhere, if they are not where the run had them."""
    root = Path(data.root).expanduser()
    if not isinstance(data, Synthetic):
        if not root.exists():
            raise ConfigError(f"the run's images are not at '{root}' any more: give root=<where they are now>.")
        return str(root)
    if synthetic.is_rendered(data):
        return str(root)
    if wish.root:
        lacking = synthetic.folder(data).name
        raise ConfigError(f"root='{root}' does not hold the run's {lacking}: give the folder that does, or no root.")
    return _writable("root", None, data.root, "data/synthetic", "gesture-synthetic")


def _cache_dir(data: DataConfig, wish: EvaluateConfig) -> str:
    """Where images are decoded to."""
    return _writable("cache_dir", wish.cache_dir, data.cache_dir, "data/cache", "gesture-cache")


def _writable(setting: str, asked: str | None, recorded: str, here: str, temporary: str) -> str:
    """The folder that was asked for; else the first that can be written to of the run's, one here, a temporary one."""
    if asked:
        make_writable(Path(asked).expanduser(), setting)
        return asked
    for place in (recorded, here, str(Path(tempfile.gettempdir()) / temporary)):
        with suppress(ConfigError):
            make_writable(Path(place), setting)
            return place
    raise ConfigError(f"neither '{recorded}' nor '{here}' can be written to: give {setting}=<a folder that can>.")


def ask(finished: Finished, asked: Questions, wish: EvaluateConfig) -> "Answering":
    """Put the network to the images and keep it for further ones.

    Raises:
        ConfigError: the checkpoint is damaged, or the accelerator absent.
        Diverged: an answer is no number.
    """
    with held_back():
        from gesture.training import fit  # imports torch, which missing data need not wait for

    config = _as_recorded(asked.config, finished.record, wish)
    components = fit.build(config, asked.data, doing="testing", has_checkpoint=True)
    answers = fit.test(components, finished.checkpoint)
    table = predictions.of_samples(asked.data.samples, {"test": answers}, asked.data.views)
    return Answering(table, components)


@dataclass(frozen=True)
class Answering:
    """A network that was asked, and what it said."""

    predictions: Predictions
    """Of the test."""
    components: "Components"

    def probabilities(self, images: Images) -> NDArray[np.float32]:
        """Probabilities [N, C] of other images, uint8 [N, height, width]."""
        from gesture.training import fit

        return fit.ask(self.components, images)


def _as_recorded(config: TrainConfig, record: Record, wish: EvaluateConfig) -> TrainConfig:
    """The run's configuration for testing: the same numbers where the hardware is the same, unless others are asked."""
    from gesture.model.hardware import for_use

    used, use = record["device"], wish.accelerator
    hardware = for_use(used, use.name, use.precision, use.channels_last)
    if (hardware.name, hardware.precision) != (used["accelerator"], used["precision"]):
        log.info("trained on %s in %s, which gives other digits", used["accelerator"], used["precision"])
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, balance="none"),
        loss=dataclasses.replace(config.loss, class_weights="none"),
        accelerator=AcceleratorConfig(**dataclasses.asdict(hardware)),
        trainer=dataclasses.replace(config.trainer, precision="auto", devices="1", num_nodes=1, strategy="auto"),
    )
