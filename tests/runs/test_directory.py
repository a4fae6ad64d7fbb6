"""The run directory: claimed before anything heavy, never mixed, its end always written down."""

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gesture.config import recorded
from gesture.config.compose import compose
from gesture.config.refusals import ConfigError, Diverged
from gesture.process import Interrupted
from gesture.runs.directory import RunDirectory, sentence_of
from gesture.runs.result import Result


def claimed(path: Path, is_trial: bool = False) -> tuple[RunDirectory, Result]:
    directory = RunDirectory(path, is_trial)
    path.mkdir(exist_ok=True)
    return directory, directory.claim(compose("train", ["seed=7"]), ["seed=7"])


def record(path: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((path / "result.json").read_text())  # type: ignore[no-any-return]


def test_a_claim_says_who_works_on_what(tmp_path: Path) -> None:
    directory, _ = claimed(tmp_path / "run")
    assert record(directory.path)["status"] == "running"
    assert record(directory.path)["process"]["pid"] == os.getpid()
    assert directory.read_config().seed == 7
    assert directory.overrides.read_text() == "seed=7\n"


CLAIM = """
import sys, time
from pathlib import Path
from gesture.config.compose import compose
from gesture.config.refusals import ConfigError
from gesture.runs.directory import RunDirectory
run, config = Path(sys.argv[1]), compose("train")
print("ready", flush=True)
sys.stdin.read()
try:
    RunDirectory(run).claim(config, [])
except ConfigError:
    sys.exit(2)
"""


@pytest.mark.parametrize("is_abandoned", [False, True])
def test_of_processes_that_claim_a_directory_at_once_one_gets_it(is_abandoned: bool, tmp_path: Path) -> None:
    if is_abandoned:  # by a process that was killed before it wrote what for
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        process = {"pid": dead.pid, "host": socket.gethostname(), "began": None}
        (tmp_path / "result.json").write_text(json.dumps({"status": "running", "process": process}))
    several = [
        subprocess.Popen([sys.executable, "-c", CLAIM, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    for each in several:
        assert each.stdout is not None
        each.stdout.readline()
    for each in several:
        assert each.stdin is not None
        each.stdin.close()
    codes = [each.wait(60) for each in several]
    assert sorted(codes) == [0, 2, 2, 2]
    assert record(tmp_path)["process"]["pid"] == several[codes.index(0)].pid
    assert (tmp_path / "config.yaml").is_file()
    assert not list(tmp_path.glob(".*.unfinished"))


def test_a_record_is_whole_where_there_are_no_links_which_is_mocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")  # as FAT says it

    monkeypatch.setattr(os, "link", refuse)
    claimed(tmp_path / "run")
    assert record(tmp_path / "run")["status"] == "running"
    with pytest.raises(ConfigError, match="holds a run already"):
        claimed(tmp_path / "run")


def test_claiming_needs_neither_torch_nor_the_data(tmp_path: Path) -> None:
    code = (
        "import sys; from gesture.config.compose import compose; from gesture.runs.directory import RunDirectory\n"
        f"from pathlib import Path; RunDirectory(Path({str(tmp_path)!r})).claim(compose('train'), [])\n"
        "assert not {'torch', 'lightning', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert (tmp_path / "result.json").is_file()


@pytest.mark.parametrize(
    "left",
    [
        *("config.yaml", "split.json", "metrics.csv", "predictions.csv", "checkpoints/best.ckpt", "result.json"),
        *("overrides", "tensorboard/events.out", "plots/curves.png"),
    ],
)
def test_a_directory_that_holds_anything_of_a_run_is_refused(left: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / left
    path.parent.mkdir(parents=True)
    path.write_text("of another run")
    with pytest.raises(ConfigError, match=r"holds a run already .* give another hydra\.run\.dir"):
        claimed(tmp_path / "run")
    assert path.read_text() == "of another run"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Interrupted(15), "interrupted"),
        (Diverged("the loss is nan"), "failed"),
        (RuntimeError("out of memory"), "failed"),
    ],
)
def test_whatever_ends_a_run_is_written_down(error: BaseException, status: str, tmp_path: Path) -> None:
    directory, result = claimed(tmp_path / "run")
    with pytest.raises(type(error)), directory.recording(result):
        raise error
    assert record(directory.path)["status"] == status
    assert str(error) in record(directory.path)["error"]


def test_a_refused_run_leaves_nothing_and_a_refused_trial_says_why(tmp_path: Path) -> None:
    for is_trial in (False, True):
        directory, result = claimed(tmp_path / f"{is_trial}", is_trial)
        with pytest.raises(ConfigError), directory.recording(result):
            raise ConfigError("nobody is called 77")
    assert list((tmp_path / "False").iterdir()) == []
    assert record(tmp_path / "True")["status"] == "refused"
    assert record(tmp_path / "True")["error"] == "nobody is called 77"


def test_a_trial_refused_before_its_claim_is_recorded_too(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "trial", is_trial=True)
    directory.note_refusal("first", ["seed=1"])
    directory.note_refusal("second", ["seed=1"])
    assert record(directory.path) == {"status": "refused", "error": "first"}


def test_a_trial_that_meets_another_run_leaves_it_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "overrides").write_text("seed=7\n")
    RunDirectory(tmp_path, is_trial=True).note_refusal("holds a run already", ["seed=1"])
    assert [path.name for path in tmp_path.iterdir()] == ["overrides"]
    assert (tmp_path / "overrides").read_text() == "seed=7\n"


def test_a_refusal_leaves_nothing_of_what_was_made_until_then(tmp_path: Path) -> None:
    directory, result = claimed(tmp_path / "run")
    (directory.path / "of mine.txt").write_text("not the run's")
    for name in ("plots/samples.png", "tensorboard/events.out", "split.json"):
        path = directory.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("made before the refusal")
    with pytest.raises(ConfigError), directory.recording(result):
        raise ConfigError("trainer.limit_val_batches leaves none")
    assert [path.name for path in directory.path.iterdir()] == ["of mine.txt"]
    claimed(tmp_path / "run")


def test_what_has_trained_is_not_refused_and_keeps_what_it_has(tmp_path: Path) -> None:
    directory, result = claimed(tmp_path / "run")
    directory.checkpoints.mkdir()
    directory.last_checkpoint.write_text("of hours")

    def train() -> None:
        result.epochs = 3
        raise ConfigError("the best checkpoint cannot be read")

    with pytest.raises(ConfigError), directory.recording(result):
        train()
    assert directory.last_checkpoint.read_text() == "of hours"
    assert record(directory.path)["status"] == "failed"
    assert record(directory.path)["error"] == "the best checkpoint cannot be read"


def test_a_claim_that_is_broken_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(config: object) -> str:
        raise Interrupted(15)

    monkeypatch.setattr(recorded, "to_yaml", stop)
    with pytest.raises(Interrupted):
        claimed(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "metrics.csv")
    assert sentence_of(error) == (
        "a disk has no room for 'metrics.csv' (No space left on device): free some, or give a folder on another disk."
    )
    assert sentence_of(OSError(errno.EACCES, "Permission denied")) is None
    assert sentence_of(RuntimeError("a fault of ours")) is None


@pytest.mark.parametrize("name", ["result.json", "split.json", "config.yaml"])
@pytest.mark.parametrize("content", ["", "{", "[]", "\0\0", "{}"])
def test_a_damaged_record_is_named_in_one_sentence(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    directory = RunDirectory(tmp_path)
    read = {
        "result.json": directory.read_result,
        "split.json": directory.read_split,
        "config.yaml": directory.read_config,
    }
    with pytest.raises(ConfigError, match=rf"{name}' is damaged") as refusal:
        read[name]()
    assert "\n" not in str(refusal.value)
