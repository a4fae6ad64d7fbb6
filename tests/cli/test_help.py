"""--help, --version and the commands' names."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gesture.cli.help import page
from gesture.config.checks import setting_names
from gesture.config.names import BACKBONES
from gesture.config.schema import CHOICES, TrainConfig

GESTURE = [sys.executable, "-m", "gesture"]


def answer(*command: str, cwd: Path | None = None) -> tuple[int, str, str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_help_explains_every_setting_of_every_choice() -> None:
    shown = page("train", "Train.", [], None)
    groups = (*CHOICES, "logger", "experiment", "loss", "trainer", "early_stopping", "checkpoint")
    nested = tuple(f"accelerator.{name}" for name in ("cuda", "mps", "cpu"))
    loggers = ("logger.tensorboard", "logger.wandb", "logger.mlflow")
    for name in setting_names(TrainConfig):
        is_group = name in groups + nested + loggers
        is_choice = name.endswith(".name") and name != "backbone.name"
        if not is_group and not is_choice:
            assert re.search(rf"\b{re.escape(name)}\b", shown), name


def test_help_lists_every_name_that_a_setting_may_take() -> None:
    shown = re.sub(r"\s+", " ", page("train", "Train.", [], None))
    assert all(re.search(rf"[\[ ]{name}[,\]]", shown) for name in BACKBONES)


def test_help_shows_the_values_that_words_give() -> None:
    shown = page("train", "Train.", ["experiment=fast", "data.batch_size=7"], None)
    assert "data.batch_size=7 " in shown
    assert "optimizer.lr=0.002" in shown
    assert "[adamw]" in shown


def test_no_line_of_help_is_wider_than_a_terminal() -> None:
    assert max(len(line) for line in page("train", "Train.", [], None).splitlines()) <= 120


@pytest.mark.parametrize("command", ["train", "audit", "evaluate", "predict", "compare"])
def test_every_command_has_help_with_examples(command: str) -> None:
    code, output, errors = answer(*GESTURE, command, "--help")
    assert (code, errors) == (0, "")
    assert f"python -m gesture.{command}" in output
    assert "Settings" in output


def test_gesture_lists_its_commands_and_its_version() -> None:
    code, output, _ = answer(*GESTURE)
    assert code == 0
    assert all(command in output for command in ("train", "audit", "evaluate", "predict", "compare"))
    code, output, _ = answer(*GESTURE, "--version")
    assert re.fullmatch(r"gesture \d+\.\d+\.\d+\n", output)


@pytest.mark.parametrize("word", ["--version", ""])
def test_nobody_reads_what_gesture_says(word: str) -> None:
    line = f"set -o pipefail; {shlex.join(GESTURE)} {word} | true"
    code, output, errors = answer("bash", "-c", line)
    assert (code, output, errors) == (0, "", "")


def test_a_mistyped_command_names_the_nearest() -> None:
    code, _, errors = answer(*GESTURE, "trian")
    assert code == 2
    assert errors == "gesture: 'trian' is no command: did you mean train?\n"


def test_the_console_command_is_the_module(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "gesture"
    code, _, errors = answer(str(script), "train", "optimizer.lrr=1", cwd=tmp_path)
    assert code == 2
    assert "did you mean optimizer.lr" in errors
