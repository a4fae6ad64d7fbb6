"""Configurations: all of them compose, wrong ones are refused in one line before torch is imported."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torchvision
from omegaconf import DictConfig, OmegaConf

from gesture.config.compose import compose, compose_unchecked, config_dir
from gesture.config.names import BACKBONES
from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig

GROUPS = ("data", "split", "backbone", "augment", "optimizer", "scheduler", "accelerator", "launcher", "experiment")


def composed(*overrides: str) -> TrainConfig:
    config: TrainConfig = compose("train", overrides)
    return config


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


@pytest.mark.parametrize("name", ["reference_resnet18", "reference_resnet50", "report_resnet18", "report_resnet50"])
def test_the_reference_normalises_no_pixels_by_the_images_of_a_run(name: str) -> None:
    assert composed(f"experiment={name}").network.normalisation == "plain"
    assert composed().network.normalisation == "data"


def test_group_files_stay_short() -> None:
    for path in config_dir().glob("*/*.yaml"):
        assert len(path.read_text().splitlines()) <= 24, path


def test_experiments_hold_overrides_only() -> None:
    for option in options("experiment"):
        plain = DictConfig(OmegaConf.load(config_dir() / "experiment" / f"{option}.yaml"))
        del plain["defaults"]
        plain.pop("hydra", None)  # what a sweep of it tries
        chosen = OmegaConf.to_container(compose_unchecked("train", [f"experiment={option}"]))
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
        ("backbone.name=resnt50", "backbone.name='resnt50' is unknown: did you mean resnet50, resnet"),
        ("optimizer.name=admw", "did you mean adamw, adam"),
        ("data.pattern=x", "data.pattern is read by data=folder only"),
        ("split.folds=4", "split.folds is read by split=fold or split=loso only"),
        ("optimizer.momentum=0.9", "read by optimizer=sgd only"),
        ("backbone.name=vit_b_16 data.image_size=[64,64]", "takes 224x224 images only"),
        ("backbone.name=vit_b_16 trainer.half_size_fraction=0.5", "trainer.half_size_fraction=0"),
        ("trainer.half_size_fraction=1", "must be below 1"),
        ("split=fold split.fold=10", "split.fold=10 must be below split.folds=10"),
        ("split.val_fraction=0.5 split.test_fraction=0.5", "leave nothing to train on"),
        ("trainer.devices=none", "trainer.devices=none must be auto or a number"),
        ("backbone.weights=nowhere.pth", "backbone.weights='nowhere.pth' does not exist: give a .pth file"),
        ("seed=99999999999", "seed=99999999999 is out of range: it must be at most 4294967295"),
        ("optimizer.lr=inf", "optimizer.lr=inf is no value"),
        ("data.root=", "data.root= is no value"),
        ("trainer.strategy=dpp", "trainer.strategy='dpp' is unknown: did you mean ddp"),
        ("accelerator=cpu accelerator.graphs=true", "accelerator.graphs=true needs CUDA"),
        ("augment.rotation=10", "augment.rotation is read by another augment only"),
        ("trainer.limit_train_batches=1.5", "must be a share up to 1.0, or a whole number of batches"),
        ("trainer.check_val_every_n_epoch=21", "is more than trainer.max_epochs=20: no epoch would be validated"),
        ("trainer.strategy=fsdp trainer.ema_decay=0.9", "needs whole parameters, which strategy=fsdp shards"),
        ("name=a/b", "must be a plain folder name"),
        ("data=folder", "data.root is not set: give data.root="),
        ("checkpoint.monitor=val/acc", "did you mean val/accuracy"),
        ("launcher.gpus=1", "launcher.gpus is read by launcher=slurm only"),
        ("launcher=joblib launcher.at_once=0", "launcher.at_once=0 starts nothing: give -1 for as many as there are"),
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
        (["data.batch_size=many"], "data.batch_size=many must be a whole number and at least 1"),
        (["backbone=resnet5"], "backbone='resnet5' is unknown: did you mean resnet50, resnet18, resnet34"),
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
    assert "batch_size: 8" in output or "data.batch_size=8" in output
    assert output.endswith("\nimported:\n")


def test_a_reader_that_has_seen_enough_gets_no_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m gesture.train --help | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("Train a network, test its best checkpoint")
    assert done.stderr == ""
