"""Every command, inline setting and line of Python in the README works, typed as a shell gets it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gesture
from gesture.config.compose import compose
from gesture.config.names import BACKBONES

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (gesture \w+.*?)(?:\s{2,}#.*)?$", README, re.MULTILINE)
INLINE = [text for text in re.findall(r"`([^`\n]+)`", README) if re.match(r"[\w./]+=\S", text)]
OF_OTHER_COMMANDS = (
    *("output=", "hydra/launcher=", "input=", "run=", "runs="),
    *("reject.", "unknown=", "groups=", "explain=", "audit."),
)
SMALL = {
    "data.image_size": "[32,64]",
    "data.batch_size": "16",
    "trainer.max_epochs": "1",
    "trainer.precision": "32-true",
    "accelerator": "cpu",
}
"""What makes any training one of seconds."""


@pytest.fixture(scope="module")
def place(rendered: Path, run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the README's commands name."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "data").mkdir()
    (folder / "data" / "leapgestrecog").symlink_to(rendered)
    for image in rendered.rglob("*.png"):
        target = folder / "photos" / image.parent.name / f"s{image.parent.parent.name}_{image.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(image)
    shutil.copy(next(rendered.rglob("*.png")), folder / "hand.png")
    shutil.copytree(run_dir, folder / "logs" / "resnet18" / "<run>")
    shutil.copytree(run_dir, folder / "logs" / "resnet18" / "<sweep>" / "0")
    return folder


def fitted(line: str) -> str:
    """The line with what makes it small, and folders' names in the quotes that a person would put around them."""
    line = re.sub(r"\S*/<\w+>\S*", r"'\g<0>'", line)
    if line.startswith("gesture audit"):
        return f"{line} data.image_size=[32,64] data.frames=2"
    if not line.startswith("gesture train") or "--help" in line:
        return line
    small = [f"{key}={value}" for key, value in SMALL.items() if f" {key}=" not in line]
    if "data=synthetic" in line:
        small.append("data.frames=2")
    if "sweep=optuna" in line:  # two settings show as much as twenty, and three folds as five
        line = re.sub(r" sweep\.trials=\d+", "", line).replace("sweep.folds=5", "sweep.folds=3") + " sweep.trials=2"
    if "experiment=loso" in line:
        small.append("split.fold=0")  # ten trainings show no more than one
    return f"{line} {' '.join(small)}"


def test_the_readme_shows_every_command() -> None:
    assert {line.split()[1] for line in COMMANDS} == {"train", "audit", "evaluate", "compare", "predict"}
    assert len(COMMANDS) >= 11


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_runs(line: str, place: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", fitted(line)], cwd=place, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", INLINE)
def test_every_inline_setting_of_the_readme_is_one(text: str) -> None:
    word = text.split()[0]
    if word.startswith(
        (
            "output=",
            "hydra/launcher=",
            "input=",
            "run=",
            "runs=",
            "reject.",
            "unknown=",
            "groups=",
            "explain=",
            "audit.",
        )
    ):
        return  # of other commands, which run above
    need = {"data=folder": ["data.root=x"], "split=folder": ["data=folder", "data.root=x"]}
    compose("train", [word, *need.get(word, [])])


def test_every_backbone_the_readme_names_has_a_group_file_or_is_torchvisions() -> None:
    [named] = re.findall(r"`backbone=` \| ([\w, ]+);", README)
    for name in named.split(", "):
        assert compose("train", [f"backbone={name}"]).backbone.name in BACKBONES


def test_what_fit_returns_has_the_attributes_that_the_readme_names(rendered: Path, tmp_path: Path) -> None:
    [named] = re.findall(r"`gesture\.fit\(.*?as\sattributes: (.*?)\.\n", README, re.DOTALL)
    small = [f"{key}={value}" for key, value in SMALL.items()]
    words = [f"data.root={rendered}", f"data.cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={tmp_path / 'run'}"]
    result = gesture.fit("backbone.name=shufflenet_v2_x0_5", *small, *words)
    recorded = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    attributes = re.findall(r"`(\.\S+)`", named)
    assert len(attributes) == 3
    for attribute in attributes:
        assert eval(f"result{attribute}") is not None
    assert all(getattr(result, name) == value for name, value in recorded.items())
    assert result.directory == str(tmp_path / "run")


def test_every_line_of_python_in_the_readme_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(place)
    exec(code, {})
