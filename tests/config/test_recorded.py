"""Recorded configurations: read again as written, also those of earlier versions."""

import dataclasses

import pytest
import yaml

from gesture.config.compose import compose
from gesture.config.recorded import VERSION, from_plain, from_yaml, to_yaml
from gesture.config.refusals import ConfigError
from gesture.config.schema import AugmentConfig, OneCycle, SubjectSplit, Synthetic, TrainConfig

# As version 1 wrote it: null for what another choice of a group reads.
VERSION_1 = """
name: resnet18
seed: 0
data: {name: synthetic, root: /data/synthetic, cache_dir: /data/cache, image_size: [32, 80], batch_size: 64, stride: 1,
  on_bad_image: error, resident: true, download: null, pattern: null, subjects: 4, frames: 5, seed: 0}
split: {name: subject, seed: 0, keeps_copies_together: true, val_fraction: null, test_fraction: null,
  val_subjects: null, test_subjects: null, folds: null, fold: null}
backbone: {name: resnet18, weights: gone.pth, freeze_epochs: 0, lr_factor: 1.0}
augment: {name: light, rotation: 12.0, scale: 0.2, shift: 0.1, gamma: 0.4}
loss: {label_smoothing: 0.1, on_probabilities: false}
optimizer: {name: adamw, lr: 0.002, weight_decay: 0.05, momentum: null}
scheduler: {name: onecycle, factor: null, patience: null, warmup_fraction: 0.3}
accelerator: {name: auto, precision: auto, channels_last: null, compile: null}
trainer: {max_epochs: 2, devices: '1', strategy: auto, precision: auto}
checkpoint: {monitor: val/accuracy}
"""


@pytest.mark.parametrize(
    "words", [[], ["experiment=fast", "data=synthetic"], ["split=fold", "optimizer=sgd", "scheduler=plateau"]]
)
def test_a_record_is_read_as_it_was_written(words: list[str]) -> None:
    config: TrainConfig = compose("train", words)
    assert from_yaml(to_yaml(config), "config.yaml") == config


def test_a_record_carries_its_version() -> None:
    assert yaml.safe_load(to_yaml(compose("train")))["version"] == VERSION


def test_a_record_of_version_1_is_brought_up_and_its_files_need_not_exist() -> None:
    config = from_yaml(VERSION_1, "config.yaml")
    assert (type(config.data), type(config.split), type(config.scheduler)) == (Synthetic, SubjectSplit, OneCycle)
    assert isinstance(config.augment, AugmentConfig)
    assert config.backbone.weights == "gone.pth"
    assert config.trainer.half_size_fraction == 0
    assert config.logger.tensorboard is not None


def test_a_record_of_version_1_on_leapgestrecog_is_brought_up() -> None:
    plain = yaml.safe_load(VERSION_1)
    plain["data"] |= {"name": "leapgestrecog", "download": None, "subjects": None, "frames": None, "seed": None}
    plain["augment"] = {"name": "none", "rotation": None, "scale": None, "shift": None, "gamma": None}
    config = from_plain(plain, "config.yaml")
    assert "subjects" not in {item.name for item in dataclasses.fields(config.data)}


@pytest.mark.parametrize("text", ["", "[1, 2]", "name: [", "name: x", "{version: 99}", "version: two"])
def test_a_damaged_record_is_named_in_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^'run/config.yaml' is (damaged|of a later version)"):
        from_yaml(text, "run/config.yaml")
