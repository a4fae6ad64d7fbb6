"""Every command and every line of Python in the README works."""

import re
import shlex
from pathlib import Path

import pytest

from conftest import call
from gesture import evaluate, predict, train

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
COMMANDS = re.findall(r"^    python -m (gesture\.\w+)(.*?)(?:\s{2,}#.*)?$", README, re.MULTILINE)
MAINS = {"gesture.train": train.main, "gesture.evaluate": evaluate.main, "gesture.predict": predict.main}


def fitted(words: str, run_dir: Path, rendered: Path) -> list[str]:
    """The words with the places of this test in them, and a small network for the large ones."""
    words = words.replace("logs/resnet18/<run>", str(run_dir)).replace("hand.png", str(rendered / "00/01_palm"))
    words = words.replace("data/leapgestrecog", str(rendered)).replace("=0,1,2,3,4,5,6,7,8,9", "=0,9")
    return [word for word in shlex.split(words) if not word.startswith("backbone=")]


def test_the_readme_shows_commands() -> None:
    assert {command for command, _ in COMMANDS} == set(MAINS)
    assert len(COMMANDS) >= 9


@pytest.fixture(scope="module")
def ten_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first command that wants the built-in data set renders it."""
    return tmp_path_factory.mktemp("ten_people")


@pytest.mark.parametrize(("command", "words"), COMMANDS)
def test_every_command_of_the_readme_runs(
    command: str,
    words: str,
    run_dir: Path,
    rendered: Path,
    tiny: list[str],
    ten_people: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = fitted(words, run_dir, rendered)
    if command == "gesture.train":
        asked += tiny[1:]
    if "data=synthetic" in asked:
        asked += [f"data.root={ten_people}", "data.frames=2"]
    assert call(MAINS[command], *asked) == 0


def test_every_line_of_python_in_the_readme_runs(run_dir: Path, rendered: Path, tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    image = rendered / "00/01_palm/frame_00_01_0001.png"
    exec(code.replace("logs/resnet18/<run>", str(run_dir)).replace("hand.png", str(image)), {})
