"""Every command of docs/cluster.md composes, and its Kubernetes example holds together."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from gesture.cli.trials import check_trials
from gesture.config.compose import compose, config_dir, initialized, read_words
from gesture.config.schema import TrainConfig
from gesture.runs.cluster import this_job

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "cluster.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:    |srun )?[^#`\n]*(?:gesture train|-m gesture\.train) (.*)$", PAGE, re.MULTILINE)
MANIFEST: list[Any] = list(yaml.safe_load_all((DOCS / "kubernetes-indexed-job.yaml").read_text(encoding="utf-8")))


def check(words: list[str]) -> None:
    """Compose what a line asks for, as its command would."""
    if "-m" not in words:
        compose("train", words)
        return
    trials = read_words([word for word in words if word != "-m"], TrainConfig, multirun=True)
    with initialized("train") as hydra:
        check_trials(hydra, "train", trials, TrainConfig)


def test_the_page_has_its_commands() -> None:
    assert len(COMMANDS) == 10


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_composes(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")  # torchrun's
    check([word for word in shlex.split(line) if word != "$@"])


def test_every_setting_that_the_page_lists_is_the_launchers() -> None:
    [listed] = re.findall(r"`launcher\.`\ntakes (.*?);", PAGE, re.DOTALL)
    launcher = compose("train", []).launcher
    assert launcher.name == "local"
    plain = yaml.safe_load((config_dir() / "launcher" / "slurm.yaml").read_text(encoding="utf-8"))["launcher"]
    assert set(re.findall(r"`(\w+)`", listed)) == set(plain) - {"name"}


def test_the_indexed_jobs_command_composes() -> None:
    [worker] = MANIFEST[1]["spec"]["template"]["spec"]["containers"]
    assert worker["command"][:2] == ["gesture", "train"]
    check([*worker["command"][2:], *worker["args"]])


def test_the_indexed_job_shares_its_volume_and_tells_its_runs_whose_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    claim, job = MANIFEST
    pod = job["spec"]["template"]["spec"]
    [worker], [volume] = pod["containers"], pod["volumes"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert [volume["name"]] == [mount["name"] for mount in worker["volumeMounts"]]
    assert worker["workingDir"] == worker["volumeMounts"][0]["mountPath"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["podReplacementPolicy"] == "Failed"  # or two would work on one run for a while
    assert pod["restartPolicy"] == "Never"  # as a policy for failures wants it
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for variable in worker["env"]:
        monkeypatch.setenv(variable["name"], job["metadata"]["name"])
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    assert this_job() == {"id": "kubernetes gesture-search 3", "beginnings": None}
