"""A run whose job its cluster began again, on another host perhaps, is nobody's work."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gesture.runs.cluster import this_job
from gesture.runs.result import Result, status_of, this_process

SLURM = {"SLURM_JOB_ID": "41"}
KUBERNETES = {"JOB_NAME": "search", "JOB_COMPLETION_INDEX": "3"}


def running(**process: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(Result("run", "val/accuracy", 0).to_json())
    return {**record, "process": {**record["process"], **process}}


def begin(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in (*SLURM, "SLURM_RESTART_COUNT", *KUBERNETES):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_outside_of_a_cluster_there_is_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch, {})
    assert this_job() is None
    begin(monkeypatch, {"JOB_NAME": "another tool's"})
    assert this_job() is None


@pytest.mark.parametrize(
    ("then", "now", "status"),
    [
        (SLURM, {**SLURM, "SLURM_RESTART_COUNT": "1"}, "died"),
        ({**SLURM, "SLURM_RESTART_COUNT": "1"}, {**SLURM, "SLURM_RESTART_COUNT": "2"}, "died"),
        ({**SLURM, "SLURM_RESTART_COUNT": "9"}, {**SLURM, "SLURM_RESTART_COUNT": "1"}, "died"),  # of who submitted it
        (SLURM, SLURM, "running"),  # another step of the same job, on another host
        (SLURM, {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": "1"}, "running"),
        ({}, {**SLURM, "SLURM_RESTART_COUNT": "1"}, "running"),
        (SLURM, {}, "running"),
        (KUBERNETES, KUBERNETES, "died"),
        (KUBERNETES, {**KUBERNETES, "JOB_COMPLETION_INDEX": "4"}, "running"),
    ],
)
def test_a_run_of_another_host_is_dead_once_its_job_began_again(
    then: dict[str, str], now: dict[str, str], status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(monkeypatch, then)
    record = running(host="another")
    begin(monkeypatch, now)
    assert status_of(record) == status


@pytest.mark.parametrize("then", [SLURM, KUBERNETES])
def test_a_process_of_this_host_is_asked_itself(then: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch, then)
    record = running()
    begin(monkeypatch, {**then, "SLURM_RESTART_COUNT": "1"})
    assert record["process"]["pid"] == os.getpid()
    assert status_of(record) == "running"


@pytest.mark.parametrize("job", [None, 41, "slurm 41", {"id": "slurm 41"}, {"id": "slurm 41", "beginnings": None}])
def test_a_job_that_says_too_little_is_taken_at_its_word(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch, {**SLURM, "SLURM_RESTART_COUNT": "1"})
    assert status_of(running(host="another", job=job)) == "running"


def test_a_record_without_a_job_is_read(tmp_path: Path) -> None:
    process = {name: value for name, value in this_process().items() if name != "job"}
    record = running()
    assert status_of({**record, "process": {**process, "host": "another"}}) == "running"
