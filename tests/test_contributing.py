"""The examples of CONTRIBUTING.md apply to the source as it is, and do what they say."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.words import last_wins

PROJECT = Path(__file__).resolve().parents[1]
GUIDE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### (.*?)\n.*?```diff\n(.*?)```", GUIDE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to which one example after the other is applied."""
    copy = tmp_path_factory.mktemp("project")
    for folder in ("src", "configs"):
        shutil.copytree(PROJECT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for example in EXAMPLES.values():
        apply = ["git", "apply", "-C1", "-"]
        subprocess.run(apply, cwd=copy, input=example, text=True, check=True, timeout=60)
    return copy


def gesture(patched: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(patched / "src")}
    command = [sys.executable, "-m", "gesture", *words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def test_the_guide_has_its_examples() -> None:
    assert list(EXAMPLES) == ["A data source", "An optimizer", "A metric", "A command"]


def test_the_rooms_of_the_guide_are_those_of_the_source() -> None:
    named = set(re.findall(r"^\| `(\w+)/` \|", GUIDE, re.MULTILINE))
    assert named == {path.parent.name for path in (PROJECT / "src" / "gesture").glob("*/__init__.py")}
    for name in re.findall(r"`([\w/]+\.py)`", GUIDE):
        assert list((PROJECT / "src" / "gesture").rglob(name)), name


def test_the_examples_train_measure_and_answer(patched: Path, rendered: Path, tiny: list[str], tmp_path: Path) -> None:
    images = sorted(path.relative_to(rendered) for path in rendered.rglob("*.png"))
    root = tmp_path / "photos"
    shutil.copytree(rendered, root)
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "gesture", "subject"])
        writer.writerows([path.as_posix(), path.parent.name, path.parts[0]] for path in images)
    words = last_wins([*tiny, "data=listed", f"data.root={root}", "optimizer=nadam", "hydra.run.dir=run"])
    gesture(patched, tmp_path, "train", *words)
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["dataset"]["name"] == "listed"
    assert result["dataset"]["subjects"] == len({path.parts[0] for path in images})
    assert 0 < result["metrics"]["test/brier"] <= 2
    answer = gesture(patched, tmp_path, "people", "run=run").stdout.splitlines()
    assert [line.split()[0] for line in answer] == list(result["per_subject"])
    assert "how well a run recognises" in gesture(patched, tmp_path, "--help").stdout
    assert "optimizer.name" not in gesture(patched, tmp_path, "train", "--help", "optimizer=nadam").stderr
