"""Checkpoints: whole after a kill or on a full disk, and refused in a sentence when they are anything else."""

import errno
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.kills import flat, unequal

from gesture.config.compose import compose
from gesture.config.refusals import ConfigError
from gesture.model import checkpoint
from gesture.model.hardware import Hardware
from gesture.writing import UNFINISHED

TABLE = 1000
"""Bytes at the end of a small checkpoint that hold its table of contents."""
CPU = Hardware("cpu", "32-true", channels_last=True, compile=False, graphs=False)


@pytest.fixture(scope="module")
def content() -> checkpoint.Content:
    return {
        "state_dict": {"network.weight": torch.arange(6.0), "other": torch.ones(2)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(50_000)}}}],
        "epoch": 3,
        "gesture": checkpoint.describe(compose("train", ["data=synthetic"]), ("fist", "palm"), CPU),
    }


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    """A file system of 8 MB."""
    return disk_of("8m")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_and_says_how_the_run_computed(content: checkpoint.Content, tmp_path: Path) -> None:
    checkpoint.write(content, tmp_path / "best.ckpt")
    found = checkpoint.read(tmp_path / "best.ckpt")
    assert found["gesture"] == content["gesture"]
    assert found["gesture"]["hardware"]["precision"] == "32-true"
    assert torch.equal(found["state_dict"]["network.weight"], torch.arange(6.0))
    assert names(tmp_path) == ["best.ckpt"]


def test_the_size_is_known_beforehand_and_shared_memory_counts_once(
    content: checkpoint.Content, tmp_path: Path
) -> None:
    shared = {**content, "again": content["optimizer_states"]}
    assert checkpoint.size_of(shared) == checkpoint.size_of(content)
    checkpoint.write(shared, tmp_path / "x.ckpt")
    assert (tmp_path / "x.ckpt").stat().st_size <= checkpoint.size_of(shared)


WRITER = """
import sys, torch
from pathlib import Path
from gesture.model import checkpoint
path = Path(sys.argv[1])
content = checkpoint.read(path)
content["state_dict"]["network.large"] = torch.zeros(50_000_000)
content["epoch"] = 4
print("writing", flush=True)
checkpoint.write(content, path)
"""


def kill_in_the_middle(path: Path, temporary: Path) -> None:
    """SIGKILL a process that replaces a checkpoint once the new file has grown, and before it has its name."""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], env=environment, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        unfinished = path.with_name(f".{path.name}{UNFINISHED}")
        while writer.poll() is None and not (unfinished.exists() and unfinished.stat().st_size > 1_000_000):
            time.sleep(0.0005)
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.parametrize("elsewhere", [False, True], ids=["one-disk", "temporary-folder-on-another-disk"])
def test_a_writer_that_is_killed_leaves_the_old_checkpoint_whole(
    elsewhere: bool, content: checkpoint.Content, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    temporary = request.getfixturevalue("small_disk") if elsewhere else tmp_path
    path = run / "best.ckpt"
    checkpoint.write(content, path)
    before = path.read_bytes()
    kill_in_the_middle(path, temporary)
    assert path.read_bytes() == before
    assert names(run) == [".best.ckpt.unfinished", "best.ckpt"]
    assert UNFINISHED not in "".join(names(temporary))
    checkpoint.write(content, run / "last.ckpt")
    assert names(run) == ["best.ckpt", "last.ckpt"]


def test_room_is_checked_before_a_checkpoint_is_written(content: checkpoint.Content, small_disk: Path) -> None:
    path = small_disk / "best.ckpt"
    checkpoint.write(content, path)
    with pytest.raises(checkpoint.DiskFull, match=r"has no room for a checkpoint of 41 MB \(\d+ MB free\)") as failure:
        checkpoint.write({**content, "large": torch.zeros(10_000_000)}, path)
    assert failure.value.errno == errno.ENOSPC
    assert checkpoint.read(path)["epoch"] == 3
    assert names(small_disk) == ["best.ckpt"]


def test_a_disk_that_fills_up_meanwhile_leaves_the_old_checkpoint_whole(
    content: checkpoint.Content, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_disk / "best.ckpt"
    checkpoint.write(content, path)
    monkeypatch.setattr(checkpoint, "size_of", lambda _: 0)  # another program takes the room after it was checked
    with pytest.raises(checkpoint.DiskFull):
        checkpoint.write({**content, "large": torch.zeros(10_000_000)}, path)
    assert checkpoint.read(path)["epoch"] == 3
    assert names(small_disk) == ["best.ckpt"]


def test_whichever_bit_of_a_file_is_damaged_what_is_read_is_what_was_written_or_nothing(
    content: checkpoint.Content, tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    small = {**content, "optimizer_states": [], "large": torch.randn(500)}
    checkpoint.write(small, path)
    whole, written = path.read_bytes(), dict(flat(small))
    refused = 0
    of_tensors = range(0, len(whole) - TABLE, 13)
    for place in [*of_tensors, *range(len(whole) - TABLE, len(whole))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = dict(flat(checkpoint.read(path)))
        except ConfigError:
            refused += 1
        else:
            assert unequal(written, found) == [], place
    assert refused > len(of_tensors) / 2  # beside a tensor are many bytes that nobody reads


def test_a_checkpoint_of_an_earlier_version_has_no_digest_and_is_read(
    content: checkpoint.Content, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "best.ckpt")
    assert checkpoint.read(tmp_path / "best.ckpt")["epoch"] == 3


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def saved(path: Path, value: Any) -> None:
    torch.save(value, path)


def flip_a_byte(path: Path, value: Any) -> None:
    torch.save(value, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def cut(path: Path, value: Any) -> None:
    torch.save(value, path)
    path.write_bytes(path.read_bytes()[:-1000])


def other_zip(path: Path, value: Any) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")


def changed(value: Any, **entry: Any) -> Any:
    return {**value, "gesture": {**value["gesture"], **entry}}


DAMAGES: dict[str, tuple[Callable[[Path, Any], object], str]] = {
    "missing": (lambda path, _: None, "does not exist"),
    "folder": (lambda path, _: path.mkdir(), "is no file"),
    "fifo": (lambda path, _: os.mkfifo(path), "is no file"),
    "empty": (lambda path, _: path.touch(), "is empty"),
    "text": (lambda path, _: path.write_text("root:x:0:0:root:/root:/bin/bash\n"), "is no checkpoint: give"),
    "cut": (cut, "is cut off"),
    "flipped": (flip_a_byte, "its checksums do not hold"),
    "zip": (other_zip, "is no checkpoint of plain data"),
    "code": (lambda path, value: saved(path, {**value, "evil": Evil()}), "is no checkpoint of plain data"),
    "tensor": (lambda path, _: saved(path, torch.ones(3)), "is a checkpoint of another program"),
    "foreign": (lambda path, _: saved(path, {"state_dict": {}, "epoch": 3}), "is a checkpoint of another program"),
    "later": (lambda path, value: saved(path, changed(value, format=99)), "is of a later version of gesture"),
    "no names": (lambda path, value: saved(path, changed(value, class_names=None)), "it lacks class_names"),
    "no state": (lambda path, value: saved(path, {**value, "state_dict": 1}), "it lacks state_dict"),
    "nan": (
        lambda path, value: saved(path, {**value, "state_dict": {"network.x": torch.tensor([1.0, torch.nan])}}),
        "its weights are not finite",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_sound_checkpoint_is_refused_in_one_sentence(
    damage: str, content: checkpoint.Content, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = DAMAGES[damage]
    path = tmp_path / "best.ckpt"
    make(path, content)
    with pytest.raises(ConfigError) as refusal:
        checkpoint.read(path)
    assert words in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "executed" not in capsys.readouterr().out
