"""A finished run tested again: its split, its data, its precision, and whether it still says the same."""

import dataclasses
import logging
import math
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesture.config.refusals import ConfigError
from gesture.config.schema import AcceleratorConfig, DataConfig, EvaluateConfig, Synthetic, TrainConfig
from gesture.data.files import make_writable
from gesture.process import held_back
from gesture.runs.directory import RunDirectory
from gesture.runs.files import to_json
from gesture.runs.output import Output, judged

if TYPE_CHECKING:
    from gesture.data.prepare import Data

log = logging.getLogger(__name__)

ROUNDING = 1e-5
"""Largest relative difference of two sums of float32 over the same images in another order."""
EXACT_FROM = 0.012
"""Smaller values are compared as this one: the logarithm of a float32 close to 1 is exact to 1.2e-7 at best."""

Record = dict[str, Any]
Measured = dict[str, float | None]


def test(wish: EvaluateConfig) -> Measured:
    """The test's metrics of a run's checkpoint, compared with those recorded, written where `output` names a file.

    Raises:
        ConfigError: there is no such run, it is damaged, or its images are gone.
    """
    with judged(wish.output) as output:
        return _test(wish, output)


def _test(wish: EvaluateConfig, output: Output | None) -> Measured:
    run, checkpoint = RunDirectory.find(Path(wish.run).expanduser())
    if output:
        output.check([checkpoint, *run.files])
    if not run.result.is_file():
        raise ConfigError(f"run='{wish.run}' is not part of a run, whose split it takes: give logs/<name>/<run>.")
    record, recorded, split = run.read_result(), run.read_config(), run.read_split()
    if not record.get("class_names") or not {"accelerator", "precision"} <= set(record.get("device") or ()):
        raise ConfigError(f"'{run.result}' does not say what was trained: give a run that began to train.")
    data = _find_data(recorded, split, record, wish)
    if output:
        output.check(data.samples.files.root / path for path in ("", *data.samples.paths))
    metrics = _measure(recorded, record, data, checkpoint, wish)
    log.info("\n".join(f"{name:<16}{_number(value)}" for name, value in metrics.items()))
    if data.fingerprint != record.get("dataset", {}).get("fingerprint"):
        log.warning(
            "The images are not the run's: files below %s were changed, added or removed.", data.samples.files.root
        )
    if run.best_checkpoint.is_file() and checkpoint.samefile(run.best_checkpoint):
        log.info(compare(metrics, record.get("metrics", {})))
    if output:
        output.write(to_json({"checkpoint": str(checkpoint), "metrics": metrics}))
    return metrics


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
    shown = ", ".join(f"{name} {_number(recorded[name])}" for name in common)
    return f"The run recorded other metrics: {shown}. Other images, hardware or versions give others."


def _distance(one: float | None, other: float | None) -> float:
    """How far apart two values are, as a share of the larger one; infinite if only one was measured."""
    if one is None or other is None:
        return 0 if one is other else math.inf
    return abs(one - other) / max(abs(one), abs(other), EXACT_FROM)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.6f}"


def _find_data(config: TrainConfig, split: Record, record: Record, wish: EvaluateConfig) -> "Data":
    from gesture.data.prepare import prepare_recorded  # a run that is not there need not wait for it

    asked = dataclasses.replace(config.data, root=wish.root or config.data.root)
    data = dataclasses.replace(asked, root=_root(asked, wish), cache_dir=_cache_dir(asked, wish))
    return prepare_recorded(data, split, record["class_names"])


def _root(data: DataConfig, wish: EvaluateConfig) -> str:
    """Where the images are; hands are rendered again, anywhere, if they are not where the run had them."""
    root = Path(data.root).expanduser()
    if not isinstance(data, Synthetic):
        if not root.exists():
            raise ConfigError(f"the run's images are not at '{root}' any more: give root=<where they are now>.")
        return str(root)
    from gesture.data.sources import synthetic

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


def _measure(config: TrainConfig, record: Record, data: "Data", checkpoint: Path, wish: EvaluateConfig) -> Measured:
    with held_back():
        from gesture.evaluation.metrics import measure
        from gesture.runs import predictions
        from gesture.training import fit  # imports torch, which missing data need not wait for

    components = fit.build(_as_recorded(config, record, wish), data, doing="testing", has_checkpoint=True)
    answers = fit.test(components, checkpoint)
    table = predictions.of_samples(data.samples, {"test": answers})
    return measure(table, config.loss, record.get("class_weights")).overall


def _as_recorded(config: TrainConfig, record: Record, wish: EvaluateConfig) -> TrainConfig:
    """The run's configuration for testing: the same numbers where the hardware is the same, unless others are asked."""
    from gesture.model.hardware import for_use

    used, use = record["device"], wish.accelerator
    hardware = for_use(used, use.name, use.precision, use.channels_last)
    if (hardware.name, hardware.precision) != (used["accelerator"], used["precision"]):
        log.info("trained on %s in %s, which gives other digits", used["accelerator"], used["precision"])
    return dataclasses.replace(
        config,
        accelerator=AcceleratorConfig(**dataclasses.asdict(hardware)),
        trainer=dataclasses.replace(config.trainer, precision="auto", devices="1", num_nodes=1, strategy="auto"),
    )
