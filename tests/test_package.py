"""The wheel: complete, and able to train from an empty directory outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gesture.config.compose import config_dir

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(PROJECT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_configuration(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for path in config_dir().rglob("*.yaml"):
        assert f"gesture/configs/{path.relative_to(config_dir()).as_posix()}" in inside
    assert "gesture/py.typed" in inside


def test_the_installed_wheel_trains_from_an_empty_directory(wheel: Path, tiny: list[str], tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import gesture; print(gesture.__file__)"]
    found = subprocess.run(where, cwd=empty, env=environment, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(site))
    command = [sys.executable, "-m", "gesture.train", *tiny]
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(list((empty / "logs").rglob("result.json"))) == 1
