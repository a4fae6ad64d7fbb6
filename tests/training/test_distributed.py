"""Two processes, as torchrun starts them: one record, and figures over all images, each counted once."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.kills import differing
from benchmarks.words import last_wins

from conftest import call
from gesture import evaluate
from gesture.runs.result import status_of

ONE, TWO = (
    [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] for count in (1, 2)
)

RECORDED = """
import os
from pathlib import Path
import torch
from gesture.training.classifier import GestureClassifier

seen = []
step = GestureClassifier.training_step

def note(self, batch, batch_idx):
    seen.append({"rows": batch.rows, "images": batch.images.clone()})
    return step(self, batch, batch_idx)

def note_gradients(self, optimizer):
    seen[-1]["gradients"] = torch.cat([each.grad.flatten() for each in self.parameters()])

def keep(self):
    mappings = Path("/proc/self/smaps")
    content = {
        "steps": seen,
        "state": self.network.state_dict(),
        "images_at": self.trainer.datamodule.images.data_ptr(),
        "mappings": mappings.read_text() if mappings.exists() else "",
    }
    torch.save(content, f"{os.environ['RANK']}.pt")

torch.nn.Dropout.forward = lambda self, values: values  # each process draws its own
GestureClassifier.training_step = note
GestureClassifier.on_before_optimizer_step = note_gradients
GestureClassifier.on_train_end = keep
from gesture.train import main
main()
"""
"""A training that keeps what each step saw and gave."""

STOPPED = """
import os
import signal
from lightning.pytorch import Callback
from gesture.training import callbacks, trainer

callbacks.LOOK_EVERY_S = 0  # at each step
rank, steps, signum = map(int, os.environ["STOP"].split())

class Stop(Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == steps and trainer.global_rank == rank:
            os.kill(os.getpid(), signum)

others = trainer._callbacks
trainer._callbacks = lambda *args: [Stop(), *others(*args)]
from gesture.train import main
main()
"""
"""A training one of whose processes gets a signal after some steps."""


def test_two_processes_make_one_run(tiny: list[str], tmp_path: Path) -> None:
    words = ["-m", "gesture.train", *last_wins([*tiny, "trainer.strategy=ddp", "data.batch_size=2"])]
    done = subprocess.run([*TWO, *words], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "logs").rglob("result.json")
    result = json.loads(path.read_text())
    assert result["status"] == "done"
    assert np.sum(result["confusion_matrix"]) == result["split_sizes"]["test"]
    rows = list(csv.DictReader((path.parent / "predictions.csv").read_text().splitlines()))
    assert (
        len(rows) == len({row["path"] for row in rows}) == result["split_sizes"]["val"] + result["split_sizes"]["test"]
    )
    [epoch] = csv.DictReader((path.parent / "metrics.csv").read_text().splitlines())
    assert int(epoch["step"]) == 30  # 120 images, two in each of two processes at a time
    names = result["class_names"]
    tested = [row for row in rows if row["split"] == "test"]
    hits = [row["gesture"] == names[np.argmax([float(row[f"p:{name}"]) for name in names])] for row in tested]
    assert np.mean(hits) == pytest.approx(result["metrics"]["test/accuracy"])


@pytest.mark.parametrize("command", ["gesture", "-m gesture"])
def test_the_console_command_starts_the_other_processes_too(command: str, tiny: list[str], tmp_path: Path) -> None:
    start = (
        [sys.executable, "-m", "gesture"] if command == "-m gesture" else [str(Path(sys.executable).parent / command)]
    )
    words = last_wins([*tiny, "trainer.devices=2", "hydra.run.dir=run"])
    done = subprocess.run([*start, "train", *words], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "done"
    assert "sync_dist" not in done.stderr


def test_a_process_leaves_its_group_before_it_ends(tiny: list[str], tmp_path: Path) -> None:
    """Two in a hundred that did not leave were aborted at their end by a thread of gloo's."""
    program = """
import atexit
import torch
atexit.register(lambda: print("initialized:", torch.distributed.is_initialized()))  # the first to register runs last
from gesture.train import main
main()
"""
    command = [sys.executable, "-c", program, *tiny, "trainer.strategy=ddp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("initialized: False\n")


def test_a_signal_to_the_first_of_two_processes_stops_both(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*tiny, "trainer.devices=2", "trainer.max_epochs=2000", f"hydra.run.dir={run}"]
    command = [sys.executable, "-m", "gesture.train", *last_wins(words)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not (run / "metrics.csv").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)  # returns when the last process that holds the pipe is gone
    assert process.returncode == 143
    assert json.loads((run / "result.json").read_text())["status"] == "interrupted"
    assert (run / "checkpoints" / "last.ckpt").is_file()


def test_a_backbone_that_thaws_stays_the_same_in_both_processes(tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        """
import os
import torch
from gesture.training.classifier import GestureClassifier

def keep(self):
    torch.save(self.network.state_dict(), f"{os.environ['RANK']}.pt")

GestureClassifier.on_train_end = keep
from gesture.train import main
main()
"""
    )
    words = [*tiny, "backbone.freeze_epochs=1", "trainer.max_epochs=2", "trainer.strategy=ddp", "optimizer.lr=1e-3"]
    command = [*TWO, "program.py", *last_wins(words)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    weights = [name for name in first if name.endswith("weight")]
    assert all(torch.equal(first[name], second[name]) for name in weights)
    means = [name for name in first if name.startswith("backbone.") and name.endswith("running_mean")]
    assert any(torch.any(first[name] != 0) for name in means)  # it did thaw


def test_a_training_that_diverges_in_both_processes_ends_with_one_sentence(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*tiny, "trainer.strategy=ddp", "optimizer=sgd", "optimizer.lr=1e30", f"hydra.run.dir={run}"]
    command = [*TWO, "-m", "gesture.train", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert json.loads((run / "result.json").read_text())["error"].startswith("the loss is nan at step 4")
    assert not (run / "checkpoints").exists()


def launched(command: list[str], place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a launcher's command makes of these words, below `place`."""
    place.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **environment}
    return subprocess.run(
        [*command, *last_wins(words)], cwd=place, env=env, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def recorded(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Any]]]:
    """An epoch in one process, in two, and in two without synchronised batch normalisation: the runs, and what each
    process kept.

    Of 59 images, 16 at a time, 11 are left for the last step.
    """
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "program.py").write_text(RECORDED)
    words = [*tiny, "backbone.name=mobilenet_v3_small", "data.exclude=[00/01_palm/frame_00_01_0001.png]"]
    words += ["split.val_fraction=0.3", "split.test_fraction=0.3", "augment=light", "loss.class_weights=balanced"]
    words += ["optimizer=sgd", "optimizer.lr=1e-2", "trainer.strategy=ddp", "hydra.run.dir=run"]
    kept = {}
    for name, command, size, synced in (("one", ONE, 16, True), ("two", TWO, 8, True), ("apart", TWO, 8, False)):
        own = [f"data.batch_size={size}", f"trainer.sync_batchnorm={str(synced).lower()}"]
        done = launched([*command, "../program.py"], folder / name, *words, *own)
        assert done.returncode == 0, done.stderr
        files = sorted((folder / name).glob("*.pt"))
        kept[name] = folder / name / "run", [torch.load(file, weights_only=True) for file in files]
    return kept


def steps_of(kept: list[Any]) -> list[dict[str, torch.Tensor]]:
    """The steps of all processes together, their images in the order of the table."""
    steps = []
    for shares in zip(*(each["steps"] for each in kept), strict=True):
        rows, order = torch.cat([share["rows"] for share in shares]).sort()
        images = torch.cat([share["images"] for share in shares])[order]
        assert all(torch.equal(share["gradients"], shares[0]["gradients"]) for share in shares)
        steps.append({"rows": rows, "images": images, "gradients": shares[0]["gradients"]})
    return steps


def furthest(some: list[Any], others: list[Any]) -> float:
    """The largest relative distance of a step's gradient."""
    pairs = zip(steps_of(some), steps_of(others), strict=True)
    gradients = [(one["gradients"], other["gradients"]) for one, other in pairs]
    return max(float((one - other).norm() / one.norm()) for one, other in gradients)


def test_two_processes_take_the_steps_of_one(recorded: dict[str, tuple[Path, list[Any]]]) -> None:
    """Their gradients were 3e-6 of their length apart, and the weights 1.2e-7 after sixteen steps."""
    (_, one), (_, two) = recorded["one"], recorded["two"]
    assert [len(step["rows"]) for step in two[1]["steps"]] == [8, 8, 8, 5]
    for alone, together in zip(steps_of(one), steps_of(two), strict=True):
        assert torch.equal(alone["rows"], together["rows"])
        assert torch.equal(alone["images"], together["images"])  # as augmented
    everything = torch.cat([step["rows"] for step in steps_of(two)])
    assert len(everything) == len(set(everything.tolist())) == 59
    assert furthest(one, two) < 2e-5
    assert two[0]["state"].keys() == two[1]["state"].keys()
    for name, value in one[0]["state"].items():
        assert torch.equal(two[0]["state"][name], two[1]["state"][name]), name
        assert torch.allclose(value, two[0]["state"][name], rtol=1e-4, atol=1e-5), name


def test_without_synchronised_batch_normalisation_each_process_has_its_own_statistics(
    recorded: dict[str, tuple[Path, list[Any]]],
) -> None:
    (_, one), (_, apart) = recorded["one"], recorded["apart"]
    assert all(torch.equal(a["images"], b["images"]) for a, b in zip(steps_of(one), steps_of(apart), strict=True))
    assert furthest(one, apart) > 0.1


@pytest.mark.parametrize("part", ["val", "test"])
def test_one_process_measures_what_two_did_to_the_last_digit(
    part: str, recorded: dict[str, tuple[Path, list[Any]]], tmp_path: Path
) -> None:
    run = shutil.copytree(recorded["two"][0], tmp_path / "run")
    split = json.loads((run / "split.json").read_text())
    (run / "split.json").write_text(json.dumps({**split, "test": split[part]}))  # which evaluate asks about
    assert call(evaluate.main, f"run={run}", "output=" + str(tmp_path / "again.json")) == 0
    again = json.loads((tmp_path / "again.json").read_text())["metrics"]
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    assert {name.partition("/")[2]: value for name, value in again.items()} == {
        name.partition("/")[2]: value for name, value in metrics.items() if name.startswith(f"{part}/")
    }


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_both_processes_train_from_the_same_memory(recorded: dict[str, tuple[Path, list[Any]]]) -> None:
    _, two = recorded["two"]
    for kept in two:
        header, *lines = next(
            mapping.splitlines()
            for mapping in sections(kept["mappings"])
            if begin_of(mapping) <= kept["images_at"] < begin_of(mapping, end=True)
        )
        assert header.endswith(".npy")  # the cache's file
        kilobytes = {line.split()[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
        assert kilobytes["Rss:"] >= 59 * 32 * 64 // 1024
        assert kilobytes["Private_Dirty:"] == 0  # no page of it is this process's own


def sections(smaps: str) -> list[str]:
    """A text a mapping."""
    found: list[list[str]] = []
    for line in smaps.splitlines():
        if not line.partition(" ")[0].endswith(":"):
            found.append([])
        found[-1].append(line)
    return ["\n".join(lines) for lines in found]


def begin_of(mapping: str, end: bool = False) -> int:
    return int(mapping.partition(" ")[0].split("-")[end], 16)


SLOW_OR_QUICK = """
import os
import sys
import time
from pathlib import Path
from gesture.training.classifier import GestureClassifier

rank = os.environ["RANK"]
begin = GestureClassifier.on_train_start

def note(self):
    Path(f"{rank}.pid").write_text(str(os.getpid()))
    begin(self)

GestureClassifier.on_train_start = note
step = GestureClassifier.training_step

def slowed(self, batch, batch_idx):
    time.sleep(float(os.environ["SLOWER_S"]))
    return step(self, batch, batch_idx)

GestureClassifier.training_step = slowed
from gesture.train import main
try:
    main()
finally:
    Path(f"{rank}.code").write_text(str(getattr(sys.exc_info()[1], "code", 0)))
"""


@pytest.mark.parametrize(("whom", "slower_s"), [("1.pid", "0"), ("0.pid", "2"), ("torchrun", "0")])
def test_sigterm_to_any_or_all_of_two_processes_stops_both_with_a_checkpoint(
    whom: str, slower_s: str, tiny: list[str], tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(SLOW_OR_QUICK)
    words = last_wins([*tiny, "trainer.strategy=ddp", "trainer.max_epochs=2000", "hydra.run.dir=run"])
    env = {**os.environ, "SLOWER_S": slower_s}
    process = subprocess.Popen(
        [*TWO, "program.py", *words], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*.pid"))) < 2 or not (slower_s != "0" or (tmp_path / "run/metrics.csv").is_file()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(process.pid if whom == "torchrun" else int((tmp_path / whom).read_text()), signal.SIGTERM)
    process.wait(timeout=60)
    assert [(tmp_path / f"{rank}.code").read_text() for rank in (0, 1)] == ["143", "143"]
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "interrupted"
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"]


COUNTED = """
import torch
from gesture.training import callbacks
from gesture.training.classifier import GestureClassifier

callbacks.LOOK_EVERY_S = 1e9  # as if steps took no time
asked = []
for name in ("all_reduce", "broadcast", "barrier", "all_gather", "all_gather_object"):
    def counting(*args, own=getattr(torch.distributed, name), name=name, **kwargs):
        asked.append(name)
        return own(*args, **kwargs)
    setattr(torch.distributed, name, counting)

def note(self, batch, batch_idx):
    if batch_idx == 0:
        asked.clear()

def tell(self, outputs, batch, batch_idx):
    if batch_idx == 28:  # of 0 to 29
        print("asked", len(asked), "times")

GestureClassifier.on_train_batch_start = note
GestureClassifier.on_train_batch_end = tell
from gesture.train import main
main()
"""


def test_quick_steps_of_two_processes_seldom_wait_for_what_others_say(tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(COUNTED)
    words = [*tiny, "trainer.strategy=ddp", "data.batch_size=2", "network.normalisation=plain"]
    done = launched([*TWO, "program.py"], tmp_path, *words)
    assert done.returncode == 0, done.stderr
    asked = re.findall(r"asked (\d+) times", done.stdout)
    assert len(asked) == 2
    assert max(map(int, asked)) <= 2  # Lightning's one, and a look that tells when the next is


RESUMED = (
    *("trainer.max_epochs=3", "data.batch_size=13", "backbone.name=mobilenet_v3_small", "augment=light"),
    *("scheduler=onecycle", "optimizer.lr=1e-3", "trainer.ema_decay=0.9", "checkpoint.every_n_steps=2"),
    *("trainer.strategy=ddp", "data.exclude=[00/01_palm/frame_00_01_0001.png]", "hydra.run.dir=run"),
)
"""Everything that has a state, in five steps an epoch of which the last is dealt unevenly."""


@pytest.fixture(scope="module")
def unbroken(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("unbroken")
    done = launched([*TWO, "-m", "gesture.train"], place, *tiny, *RESUMED)
    assert done.returncode == 0, done.stderr
    return place / "run"


@pytest.mark.parametrize(("rank", "signum"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGTERM)])
def test_two_processes_go_on_bit_for_bit(
    rank: int, signum: signal.Signals, unbroken: Path, tiny: list[str], tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(STOPPED)
    stopped = launched([*TWO, "program.py"], tmp_path, *tiny, *RESUMED, STOP=f"{rank} 8 {int(signum)}")
    assert stopped.returncode != 0
    run = tmp_path / "run"
    assert status_of(json.loads((run / "result.json").read_text())) in ("died", "failed", "interrupted")
    step = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert step == 8 if signum == signal.SIGTERM else step in (6, 8)
    alone = launched([sys.executable, "-m", "gesture.train"], tmp_path, "resume=run")
    assert alone.returncode == 2
    assert "was trained by 2 processes and would go on with 1" in alone.stderr
    done = launched([*TWO, "-m", "gesture.train"], tmp_path, "resume=run")
    assert done.returncode == 0, done.stderr
    assert differing(unbroken / "checkpoints/last.ckpt", run / "checkpoints/last.ckpt") == []
    assert (unbroken / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    first, second = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["callbacks"]["GoOnExactly"]["random"]
    assert not torch.equal(first["cpu"], second["cpu"])  # each drops out by itself


def test_torchrun_starts_a_sweep_whose_trials_are_of_two_processes(tiny: list[str], tmp_path: Path) -> None:
    words = ["-m", *tiny, "trainer.strategy=ddp", "hydra.sweep.dir=sweep", "seed=1,2", "optimizer=sgd"]
    done = launched([*TWO, "-m", "gesture.train"], tmp_path, *words, "optimizer.lr=1e-3,1e30")
    assert done.returncode == 1  # torchrun's, of two trials that diverged
    with (tmp_path / "sweep" / "sweep.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    assert [trial["status"] for trial in trials] == ["done", "failed"] * 2
    assert len(list((tmp_path / "sweep").glob("*/result.json"))) == 4
    assert not [path for path in tmp_path.iterdir() if path.name != "sweep"]
    split = [json.loads(path.read_text()) for path in sorted((tmp_path / "sweep").glob("*/result.json"))]
    assert [int(np.sum(one["confusion_matrix"])) for one in split if one["status"] == "done"] == [15, 15]
