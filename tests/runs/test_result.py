"""result.json: readable, without NaN, and plain about who works on the run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gesture.runs.result import Result, status_of, this_process

CLAIMING = """
import sys, time
from pathlib import Path
from gesture.config.compose import compose
from gesture.runs.directory import RunDirectory
RunDirectory(Path(sys.argv[1])).claim(compose("train"), [])
print("claimed", flush=True)
time.sleep(60)
"""


def running(**process: Any) -> dict[str, Any]:
    return {"status": "running", "process": {**this_process(), **process}}


def test_the_record_is_readable_and_has_no_nan() -> None:
    result = Result("run", "val/accuracy", 0)
    result.score, result.confusion_matrix = float("nan"), [[3, 1], [0, 4]]
    text = result.to_json()
    assert json.loads(text)["score"] is None
    assert "  [3, 1],\n  [0, 4]\n" in text
    assert text.endswith("}\n")
    assert "directory" not in json.loads(text)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_killed_run_is_told_from_one_that_lives(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", CLAIMING, str(tmp_path)], stdout=subprocess.PIPE) as claiming:
        assert claiming.stdout is not None
        assert claiming.stdout.readline() == b"claimed\n"
        record = json.loads((tmp_path / "result.json").read_text())
        assert status_of(record) == "running"
        claiming.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, claiming.pid, os.WEXITED | os.WNOWAIT)  # it ended, and its number is not given back yet
        assert status_of(record) == "died"
    assert status_of(record) == "died"


def test_a_process_that_only_has_the_same_number_is_another_one() -> None:
    assert status_of(running()) == "running"
    began = this_process()["began"]
    if began is not None:
        assert status_of(running(began=began - 1)) == "died"


def test_without_the_time_of_its_beginning_the_number_decides() -> None:
    assert status_of(running(began=None)) == "running"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert status_of(running(began=None, pid=ended.pid)) == "died"


@pytest.mark.parametrize(
    "record",
    [
        {"status": "running"},  # an earlier version's
        {"status": "running", "process": None},
        running(host="another", pid=1_000_000_000),
        running(pid=None),
        running(pid=0),
        running(pid=-1),
    ],
)
def test_what_cannot_be_told_is_taken_at_its_word(record: dict[str, Any]) -> None:
    assert status_of(record) == "running"


@pytest.mark.parametrize("status", ["done", "failed", "interrupted", "refused"])
def test_a_run_that_ended_stays_what_it_is(status: str) -> None:
    assert status_of({**running(pid=1_000_000_000), "status": status}) == status
