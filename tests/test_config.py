"""Configurations: all of them compose, wrong ones are refused in one line before torch is imported."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torchvision
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from gesture.config import BACKBONES, ConfigError, TrainConfig, config_dir, parse

GROUPS = ("data", "split", "backbone", "augment", "optimizer", "scheduler", "accelerator", "experiment")


@pytest.fixture(autouse=True)
def _composing() -> Iterator[None]:
    ConfigStore.instance().store("train_schema", TrainConfig)
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        yield


def composed(*overrides: str) -> TrainConfig:
    return parse(compose("train", list(overrides)), TrainConfig)


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_of_every_group_composes(group: str) -> None:
    assert options(group)
    for option in options(group):
        given = ["data.root=somewhere"] if (group, option) == ("data", "folder") else []
        composed(f"{group}={option}", *given)


def test_every_experiment_composes_with_every_data_set_and_split() -> None:
    for experiment, data, split in product(options("experiment"), options("data"), options("split")):
        composed(f"experiment={experiment}", f"data={data}", f"split={split}", "data.root=somewhere")


def test_group_files_stay_short() -> None:
    for path in config_dir().glob("*/*.yaml"):
        assert len(path.read_text().splitlines()) <= 24, path


def test_experiments_hold_overrides_only() -> None:
    for option in options("experiment"):
        plain = DictConfig(OmegaConf.load(config_dir() / "experiment" / f"{option}.yaml"))
        del plain["defaults"]
        chosen = OmegaConf.to_container(compose("train", [f"experiment={option}"]))
        assert OmegaConf.to_container(OmegaConf.merge(chosen, plain)) == chosen


def test_backbones_are_torchvisions() -> None:
    assert tuple(torchvision.models.list_models(module=torchvision.models)) == BACKBONES


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.batch_size=0", "data.batch_size=0 is out of range: it must be at least 1"),
        ("optimizer.lr=0", "optimizer.lr=0.0 is out of range: it must be above 0"),
        ("data.image_size=[224]", "data.image_size=[224] must be [height,width]"),
        ("data.image_size=[8,8]", "32 or more pixels"),
        ("backbone.name=resnt50", "backbone.name='resnt50' is unknown: choose one of resnet50, resnet"),
        ("optimizer.name=admw", "choose one of adamw, adam"),
        ("data.pattern=x", "data.pattern is read by data=folder only"),
        ("split.folds=4", "split.folds is read by split=fold only"),
        ("optimizer.momentum=0.9", "read by optimizer=sgd only"),
        ("backbone.name=vit_b_16 data.image_size=[64,64]", "takes 224x224 images only"),
        ("backbone.name=vit_b_16 trainer.half_size_fraction=0.5", "trainer.half_size_fraction=0"),
        ("trainer.half_size_fraction=1", "must be below 1"),
        ("split=fold split.fold=10", "split.fold=10 must be below split.folds=10"),
        ("split.val_fraction=0.5 split.test_fraction=0.5", "leave nothing to train on"),
        ("trainer.devices=none", "trainer.devices=none must be auto or a number"),
        ("backbone.freeze_epochs=1 trainer.devices=2", "works on one device only"),
        ("backbone.weights=nowhere.pth", "backbone.weights='nowhere.pth' does not exist: give a .pth file"),
        ("seed=99999999999", "seed=99999999999 is out of range: it must be at most 4294967295"),
        ("optimizer.lr=inf", "optimizer.lr=inf is no value"),
        ("data.root=", "data.root= is no value"),
        ("trainer.strategy=dpp", "trainer.strategy='dpp' is unknown: choose one of ddp"),
        ("accelerator=cpu accelerator.graphs=true", "accelerator.graphs=true needs CUDA"),
        ("augment.rotation=10", "augment.rotation is read with a recipe only"),
        ("name=a/b", "must be a plain folder name"),
        ("data=folder", "data.root is not set: give data.root="),
        ("checkpoint.monitor=val/acc", "choose one of val/accuracy"),
    ],
)
def test_values_out_of_range_name_the_remedy(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        composed(*override.split())
    assert words in str(refusal.value)


def test_seed_zero_is_a_seed() -> None:
    assert composed("seed=0").seed == 0


# What `python -c` runs: the command, then which packages that take long it imported.
TELL_IMPORTS = """
import runpy, sys
sys.argv = ["gesture.train", *sys.argv[1:]]
try:
    runpy.run_module("gesture.train", run_name="__main__")
finally:
    print("imported:", *(name for name in ("numpy", "PIL", "torch") if name in sys.modules))
"""


def command_line(cwd: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", TELL_IMPORTS, *words], cwd=cwd, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["optimizer.lrr=1"], "optimizer.lrr is not a setting: did you mean optimizer.lr"),
        (["+optimizer.lrr=1"], "optimizer.lrr is not a setting: did you mean optimizer.lr"),
        (["experimnt=fast"], "experimnt is not a setting: did you mean experiment"),
        (["experiment=mistyped"], "optimizer.lrr is not a setting: did you mean optimizer.lr"),
        (["data.batch_size=many"], "data.batch_size: Value 'many' of type 'str' could not be converted to Integer"),
        (["backbone=resnet5"], "backbone='resnet5' is unknown: choose one of resnet50, resnet34, resnet18"),
        (
            ["data.root=nowhere"],
            "data.root 'nowhere' holds no LeapGestRecog images: no such path. Get the data set with",
        ),
        (["data.batch_size=["], "cannot be read as <setting>=<value>"),
        (["-m", "backbone=resnet18,resnet5"], "backbone='resnet5' is unknown"),
        (["-m", "data.batch_size=8,0"], "data.batch_size=0 is out of range"),
        (["-m", "experiment=mistyped", "seed=1,2"], "optimizer.lrr is not a setting"),
        (["-m", "seed=1,2", "trainer.devices=2"], "sweep over several devices"),
    ],
)
def test_refusals_are_one_line_exit_2_and_leave_nothing(words: list[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mistyped.yaml").write_text("# @package _global_\noptimizer: {lrr: 1}\n")
    code, output, errors = command_line(tmp_path, "--config-dir=own", *words)
    assert code == 2
    assert output == ("imported: numpy PIL\n" if words == ["data.root=nowhere"] else "imported:\n")
    assert errors.startswith("gesture: ")
    assert sentence in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]])
def test_help_and_cfg_answer_without_what_takes_long_to_import(words: list[str], tmp_path: Path) -> None:
    code, output, _ = command_line(tmp_path, *words)
    assert code == 0
    assert "batch_size: 8" in output
    assert output.endswith("\nimported:\n")


def test_a_reader_that_has_seen_enough_gets_no_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m gesture.train --help | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("train is powered by Hydra")
    assert done.stderr == ""
