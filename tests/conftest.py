"""Small real data for the tests: a rendered data set, a finished run, the command line in this process."""

import dataclasses
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # images this small train faster so, and beside other programs much faster


from benchmarks.words import last_wins

from gesture import train
from gesture.config.compose import compose
from gesture.config.schema import TrainConfig
from gesture.report import page
from gesture.runs.directory import RunDirectory
from gesture.synthetic.dataset import render_dataset

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SUBJECTS, GESTURES, FRAMES = 3, 10, 5

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="needs ../shared/data, real images not kept in the project"
)

Configured = Callable[..., TrainConfig]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 3 people x 10 gestures x 5 frames in LeapGestRecog's layout."""
    root = tmp_path_factory.mktemp("rendered")
    return render_dataset(root, subjects=SUBJECTS, frames=FRAMES, seed=0, workers=1)


@pytest.fixture(scope="session")
def tiny(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides for a training of seconds on the rendered data."""
    cache = tmp_path_factory.mktemp("cache")
    return [
        f"data.root={rendered}",
        f"data.cache_dir={cache}",
        "data.image_size=[32,64]",
        "data.batch_size=16",
        "trainer.max_epochs=1",
        "accelerator=cpu",
        "trainer.precision=32-true",
        "backbone.name=shufflenet_v2_x0_5",
    ]


@pytest.fixture(autouse=True)
def no_log_file_outlives_its_test() -> Iterator[None]:
    """What Hydra set up in this process would go on writing into a directory that is gone."""
    yield
    for handler in list(logging.getLogger().handlers):
        if type(handler) is logging.FileHandler:
            logging.getLogger().removeHandler(handler)
            handler.close()


@pytest.fixture
def configured(tiny: list[str]) -> Configured:
    """The configuration of `tiny` with further overrides."""

    from benchmarks import arms  # imports torch

    return lambda *words: arms.configured([*tiny, *words])


def images_of(kind: str, root: Path, **settings: Any) -> Any:
    """The `data` settings of a choice of that group, with these values."""
    config: TrainConfig = compose("train", [f"data={kind}", f"data.root={root}"])
    return dataclasses.replace(config.data, **settings)


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes file systems of a size ("8m"), which only root can."""
    places: list[Path] = []

    def make(size: str) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("mounting needs Linux and root")
        places.append(place)
        return place

    yield make
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


def call(main: Callable[[], None], *words: str) -> int:
    """Run a command in this process as the shell would, each setting as given last, and return its exit code."""
    before = sys.argv
    sys.argv = ["command", *last_wins(words)]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture(autouse=True)
def as_training_left_it(request: pytest.FixtureRequest) -> Iterator[None]:
    """What evaluations add to the run that tests share is taken away again."""
    shared = RunDirectory(request.getfixturevalue("run_dir")) if "run_dir" in request.fixturenames else None
    yield
    if shared and shared.calibration.exists():
        shared.calibration.unlink()
        page.leave_of_run(shared)


@pytest.fixture(scope="session")
def run_dir(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run on an honest split."""
    directory = tmp_path_factory.mktemp("logs") / "run"
    assert (
        call(
            train.main,
            *tiny,
            "split=subject",
            "optimizer.lr=1e-3",
            "trainer.max_epochs=2",
            f"hydra.run.dir={directory}",
        )
        == 0
    )
    return directory
