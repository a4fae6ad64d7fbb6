"""result.json: the record of a run, which every other command reads."""

import os
import socket
import subprocess
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from gesture.runs import cluster
from gesture.runs.files import to_json

Number = float | None
"""None: not measured."""

RECORDED_VERSIONS = (
    "gesture",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "pillow",
    "kornia-rs",
    "numpy",
)

ENDED = ("Z", "X")
BEGINNING = 18
"""Place of the ticks from the system's start to the process's, after its state, in /proc/<pid>/stat (proc(5))."""


def versions() -> dict[str, str]:
    """The versions of the packages that metrics depend on."""
    return {name: version(name) for name in RECORDED_VERSIONS}


def git_state() -> dict[str, Any] | None:
    """The commit of the source this package runs from, and whether it was changed; None outside of a checkout."""
    source = Path(__file__).resolve().parents[3]
    if not (source / ".git").exists():
        return None

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(source), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def this_process() -> dict[str, Any]:
    """Who works on a run, so that a reader of its record can tell the living from the dead."""
    own = os.getpid()
    return {"pid": own, "host": socket.gethostname(), "began": _beginning(own), "job": cluster.this_job()}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Result:
    """What result.json holds. What was not measured is null."""

    directory: str
    monitor: str
    seed: int
    status: str = "running"
    """running, done, failed, interrupted or refused"""
    process: dict[str, Any] = field(default_factory=this_process)
    started: str = field(default_factory=now)
    resumed: list[str] = field(default_factory=list)
    """When it went on after a stop."""
    score: float | None = None
    """The monitored value of the checkpoint kept as best, never the last epoch's."""
    best_epoch: int | None = None
    """From 0."""
    epochs: int = 0
    """Epochs that ended."""
    seconds: float = 0.0
    images_per_second: float = 0.0
    """Of training steps only."""
    metrics: dict[str, Number] = field(default_factory=dict)
    per_class: dict[str, dict[str, Number]] = field(default_factory=dict)
    per_subject: dict[str, dict[str, Number]] = field(default_factory=dict)
    confusion_matrix: list[list[int]] = field(default_factory=list)
    """Of the test; rows are the true gestures."""
    class_names: list[str] = field(default_factory=list)
    split_sizes: dict[str, int] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)
    leak: dict[str, Any] | None = None
    """How much of the test a lookup of the nearest training image names: share, queries, chance, and a sentence."""
    class_weights: list[float] | None = None
    """What each gesture weighed in the loss; null: all the same."""
    network: dict[str, Any] | None = None
    """Layers, parameters and bytes, of the whole and of its parts."""
    device: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=versions)
    git: dict[str, Any] | None = field(default_factory=git_state)
    error: str | None = None

    @classmethod
    def of(cls, directory: str, record: dict[str, Any]) -> "Result":
        """The result of a run that goes on now, as far as its record has it."""
        known = {item.name for item in fields(cls)} - {"directory", "status", "process", "error", "resumed"}
        result = cls(directory=directory, **{name: record[name] for name in known if name in record})
        result.resumed = [*record.get("resumed", []), now()]
        return result

    def to_json(self) -> str:
        """The file's text."""
        return to_json({key: value for key, value in asdict(self).items() if key != "directory"})


def misfits_of(record: dict[str, Any]) -> list[str]:
    """The entries of a record that are of another kind than a `Result` has."""
    hints = get_type_hints(Result)
    misfits = [name for name, hint in hints.items() if name in record and not _fits(record[name], hint)]
    if not misfits and not all(_fits(value, Number) for value in record.get("metrics", {}).values()):
        misfits.append("metrics")
    return misfits


def _fits(value: Any, hint: Any) -> bool:
    kinds = tuple(get_origin(kind) or kind for kind in get_args(hint) if isinstance(hint, UnionType)) or (
        get_origin(hint) or hint,
    )
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))


def status_of(record: dict[str, Any]) -> str:
    """The status that a record tells; "died" of a run that says it is running and whose process is no more."""
    return "died" if _says_running(record) and not _lives(record["process"]) else str(record.get("status"))


def pid_of(record: dict[str, Any]) -> int | None:
    """The process of this host that works on a run; None where none does, and for runs of other hosts."""
    works_here = _says_running(record) and _is_here(record["process"]) and _lives(record["process"])
    pid = record["process"].get("pid") if works_here else None
    return pid if isinstance(pid, int) and pid > 0 else None


def _says_running(record: dict[str, Any]) -> bool:
    return isinstance(record.get("process"), dict) and record.get("status") == "running"


def _is_here(process: dict[str, Any]) -> bool:
    return bool(process.get("host") == socket.gethostname())


def _lives(process: dict[str, Any]) -> bool:
    """Whether a process still works; True where it cannot be told."""
    if not _is_here(process):
        return not cluster.began_again_since(process)
    pid, began = process.get("pid"), process.get("began")
    if not isinstance(pid, int) or pid <= 0 or os.name != "posix":
        return True
    if isinstance(began, int):  # another process may have its number by now
        return _beginning(pid) == began
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's process
    return True


def _beginning(pid: int) -> int | None:
    """When a process began, as Linux counts; None where it has ended, and on other systems."""
    try:
        _, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
    except OSError:
        return None
    state, *numbers = rest.split()
    return None if state in ENDED else int(numbers[BEGINNING])
