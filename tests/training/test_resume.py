"""A training that was stopped or killed goes on as if it never had been: the same bits, the same curves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from benchmarks.kills import differences, differing, rise
from benchmarks.words import last_wins

from conftest import call
from gesture import train
from gesture.runs.result import status_of
from moments import train_until

STOPPED = """
import os
from lightning.pytorch import Callback
from gesture.train import main
from gesture.training import trainer

hook, count, signum = os.environ["STOP"].split()

class Stop(Callback):
    left = int(count)

    def hit(self, trainer, *args, **kwargs):
        self.left -= trainer.state.fn == "fit"
        if self.left == 0:
            self.left -= 1
            os.kill(os.getpid(), int(signum))

setattr(Stop, hook, Stop.hit)
others = trainer._callbacks
trainer._callbacks = lambda *args: [Stop(), *others(*args)]
main()
"""
"""A training that gets a signal the n-th time that a hook is called."""
RECIPE = (
    *("trainer.max_epochs=3", "data.batch_size=24", "backbone.name=mobilenet_v3_small", "augment=light"),
    *("scheduler=onecycle", "optimizer.lr=1e-3", "trainer.ema_decay=0.9", "checkpoint.every_n_steps=2"),
)
"""Everything that has a state: order, random changes, dropout, optimizer, schedule, averages of weights and batches."""
OTHER_RECIPE = (
    *("trainer.max_epochs=4", "data.batch_size=24", "backbone.freeze_epochs=2", "trainer.accumulate_grad_batches=2"),
    *("scheduler=plateau", "scheduler.patience=0", "trainer.check_val_every_n_epoch=2", "checkpoint.every_n_steps=1"),
)
KILLED, ASKED = int(signal.SIGKILL), int(signal.SIGTERM)


def stopped(words: list[str], place: Path, hook: str, count: int, signum: int) -> int:
    """Run a training that gets a signal; its exit code."""
    command = [sys.executable, "-c", STOPPED, *words, f"hydra.run.dir={place}"]
    place.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "STOP": f"{hook} {count} {signum}"}
    return subprocess.run(command, cwd=place.parent, env=env, capture_output=True, timeout=300).returncode


def last_of(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def recipes(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], Path]]:
    """The words of two trainings, and where they ran unbroken."""
    made = {}
    for name, recipe in {"one": RECIPE, "other": OTHER_RECIPE}.items():
        words = last_wins([*tiny, *recipe])
        place = tmp_path_factory.mktemp(name) / "run"
        assert call(train.main, *words, f"hydra.run.dir={place}") == 0
        made[name] = (words, place)
    return made


@pytest.mark.parametrize(
    ("recipe", "hook", "count", "signum"),
    [
        ("one", "on_train_batch_end", 1, KILLED),  # before anything was saved
        ("one", "on_train_batch_end", 7, KILLED),
        ("one", "on_train_batch_end", 7, ASKED),
        ("one", "on_validation_batch_start", 2, KILLED),
        ("one", "on_train_epoch_end", 2, ASKED),
        ("other", "on_train_batch_end", 3, ASKED),  # in the middle of a step of two batches
        ("other", "on_validation_batch_start", 1, ASKED),
        ("other", "on_train_epoch_end", 2, KILLED),
    ],
)
def test_a_training_goes_on_bit_for_bit(
    recipe: str,
    hook: str,
    count: int,
    signum: int,
    recipes: dict[str, tuple[list[str], Path]],
    tmp_path: Path,
) -> None:
    words, unbroken = recipes[recipe]
    run = tmp_path / "run"
    assert stopped(words, run, hook, count, signum) == (-signum if signum == KILLED else 128 + signum)
    assert status_of(json.loads((run / "result.json").read_text())) == ("died" if signum == KILLED else "interrupted")
    moved = Path(shutil.move(run, tmp_path / "moved"))
    assert call(train.main, f"resume={moved}") == 0
    assert sum(differences(unbroken, moved).values()) == 0
    results = [json.loads((each / "result.json").read_text()) for each in (unbroken, moved)]
    assert len(results[1]["resumed"]) == 1
    for name in ("status", "score", "best_epoch", "epochs", "metrics", "confusion_matrix", "split"):
        assert results[0][name] == results[1][name], name


@pytest.mark.parametrize(
    "moment",
    [
        "torch:save 1 kill-before",
        "torch:save 1 kill-after",  # written, and without its name
        "gesture.writing:_sync_names 2 kill-before",
        "gesture.model.checkpoint:size_of 5 kill-after",
        "torch:save 5 kill-after",
    ],
)
def test_a_training_killed_in_a_save_goes_on_bit_for_bit(
    moment: str, recipes: dict[str, tuple[list[str], Path]], tmp_path: Path
) -> None:
    words, unbroken = recipes["one"]
    run = tmp_path / "run"
    assert train_until(moment, [*words, f"hydra.run.dir={run}"], tmp_path).returncode == -KILLED
    assert call(train.main, f"resume={run}") == 0
    assert sum(differences(unbroken, run).values()) == 0


def test_a_training_killed_between_two_names_of_its_checkpoints_goes_on_bit_for_bit(
    recipes: dict[str, tuple[list[str], Path]], tmp_path: Path
) -> None:
    words, unbroken = recipes["one"]
    run = tmp_path / "run"
    stopped(words, run, "on_train_batch_end", 7, KILLED)
    last_of(run).replace(run / "checkpoints/.last.ckpt.unfinished")  # the last one is previous.ckpt already
    assert call(train.main, f"resume={run}") == 0
    assert sum(differences(unbroken, run).values()) == 0
    assert not list((run / "checkpoints").glob(".*"))


def test_a_training_goes_on_bit_for_bit_after_a_kill_while_it_went_on(
    recipes: dict[str, tuple[list[str], Path]], tmp_path: Path
) -> None:
    words, unbroken = recipes["one"]
    run = tmp_path / "run"
    stopped(words, run, "on_train_batch_end", 4, KILLED)
    again = [f"resume={run}"]
    assert train_until("torch:save 2 kill-after", again, tmp_path).returncode == -KILLED
    assert train_until("gesture.runs.predictions:write 1 kill-after", again, tmp_path).returncode == -KILLED
    assert call(train.main, *again) == 0
    assert sum(differences(unbroken, run).values()) == 0
    assert len(json.loads((run / "result.json").read_text())["resumed"]) == 3


def test_steps_that_come_twice_are_seen() -> None:
    assert rise({"loss": [(1, 0.5), (2, 0.5)]})
    assert not rise({"loss": [(1, 0.5), (2, 0.5), (2, 0.5)]})
    assert not rise({"loss": [(2, 0.5), (1, 0.5)]})


@pytest.mark.parametrize(
    "moment",
    [
        "gesture.runs.directory:make_atomically 1 kill-before",
        "gesture.runs.files:_write_synced 1 kill-after",  # the record, and without its name
        "gesture.runs.directory:make_atomically 1 kill-after",
    ],
)
def test_a_directory_whose_run_was_killed_before_it_began_is_given_to_the_same_command(
    moment: str, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = [*tiny, f"hydra.run.dir={run}"]
    assert train_until(moment, words, tmp_path).returncode == -KILLED
    assert call(train.main, f"resume={run}") == 2
    told = capsys.readouterr().err
    assert "is no run directory" in told or "its settings are not known: give them again" in told
    assert call(train.main, *words) == 0


def test_a_run_that_was_killed_once_its_settings_were_written_goes_on(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*tiny, f"hydra.run.dir={run}"]
    train_until("gesture.runs.directory:write_atomically 1 kill-after", words, tmp_path)
    assert call(train.main, *words) == 2
    assert call(train.main, f"resume={run}") == 0


def test_a_run_goes_on_without_the_weights_it_began_with(run_dir: Path, tiny: list[str], tmp_path: Path) -> None:
    weights = Path(shutil.copy(run_dir / "checkpoints/best.ckpt", tmp_path / "weights.ckpt"))
    words = last_wins([*tiny, f"backbone.weights={weights}", "checkpoint.every_n_steps=1"])
    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    assert call(train.main, *words, f"hydra.run.dir={unbroken}") == 0
    stopped(words, run, "on_train_batch_end", 3, KILLED)
    weights.unlink()
    assert call(train.main, f"resume={run}") == 0
    assert sum(differences(unbroken, run).values()) == 0


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    recipes: dict[str, tuple[list[str], Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, unbroken = recipes["one"]
    run = tmp_path / "run"
    stopped(words, run, "on_train_batch_end", 7, KILLED)
    last, previous = run / "checkpoints/last.ckpt", run / "checkpoints/previous.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    kept = previous.read_bytes()
    previous.write_bytes(b"")
    assert call(train.main, f"resume={run}") == 2
    assert "has no whole checkpoint" in capsys.readouterr().err
    previous.write_bytes(kept)
    assert call(train.main, f"resume={run}") == 0
    assert "last.ckpt' is damaged, its checksums do not hold" in capsys.readouterr().out
    assert differing(last_of(unbroken), last_of(run)) == []


def test_auto_goes_on_with_the_newest_unfinished_run_of_the_same_settings(tiny: list[str], tmp_path: Path) -> None:
    words = [*tiny, "name=auto", "seed=3"]
    command = [sys.executable, "-m", "gesture.train", *words, "resume=auto"]

    def again() -> None:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr

    stopped(words, tmp_path / "logs/auto/0", "on_train_batch_end", 2, ASKED)
    stopped([*words[:-1], "seed=4"], tmp_path / "logs/auto/1", "on_train_batch_end", 2, ASKED)
    again()
    assert json.loads((tmp_path / "logs/auto/0/result.json").read_text())["status"] == "done"
    assert json.loads((tmp_path / "logs/auto/1/result.json").read_text())["status"] == "interrupted"
    again()  # nothing is left to go on with
    assert len(list((tmp_path / "logs/auto").iterdir())) == 3


@pytest.mark.parametrize(
    ("job", "directories"),
    [({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}, ["0"]), ({"SLURM_JOB_ID": "8"}, ["0", "1"])],
)
def test_auto_goes_on_with_the_run_of_a_job_that_began_again_where_places_have_moved(
    job: dict[str, str], directories: list[str], tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    stopped([*tiny, "name=auto"], tmp_path / "logs/auto/0", "on_train_batch_end", 2, ASKED)
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    words = last_wins([*tiny, f"data.cache_dir={tmp_path / 'scratch'}", "name=auto", "hydra.run.dir=logs/auto/1"])
    assert call(train.main, *words, "resume=auto") == 0
    ended = {path.parent.name for path in Path("logs/auto").glob("*/result.json") if '"done"' in path.read_text()}
    assert sorted(path.name for path in Path("logs/auto").iterdir()) == directories
    assert ended == {directories[-1]}


def test_auto_is_for_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert call(train.main, "resume=auto") == 2
    assert "resume=auto is for one process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "words", "sentence"),
    [
        ("done", [], "is done: there is nothing to go on with"),
        ("running", [], "is being worked on by process"),
        ("interrupted", ["optimizer.lr=1"], "leave out optimizer.lr=1"),
        ("interrupted", ["-m"], "resume= goes on with one run"),
    ],
)
def test_what_cannot_go_on_is_refused_and_left_as_it_is(
    status: str, words: list[str], sentence: str, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(run_dir, tmp_path / "run")
    record = json.loads((run / "result.json").read_text()) | {"status": status}
    record["process"] = {"pid": os.getpid(), "host": os.uname().nodename, "began": None}
    (run / "result.json").write_text(json.dumps(record))
    assert call(train.main, f"resume={run}", *words) == 2
    assert sentence in capsys.readouterr().err
    assert json.loads((run / "result.json").read_text()) == record


def test_a_run_that_was_stopped_while_its_data_were_rendered_goes_on(tiny: list[str], tmp_path: Path) -> None:
    own = ["data=synthetic", f"data.root={tmp_path / 'images'}", "data.subjects=3", "data.frames=12"]
    run = tmp_path / "run"
    command = [sys.executable, "-m", "gesture.train", *last_wins([*tiny, *own, f"hydra.run.dir={run}"])]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "images").glob(".synthetic-*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait(60) == 128 + ASKED
    assert json.loads((run / "result.json").read_text())["status"] == "interrupted"
    assert call(train.main, f"resume={run}") == 0
    assert json.loads((run / "result.json").read_text())["dataset"]["images"] == 360


def test_a_run_is_gone_on_with_by_one_process_only(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    stopped([*tiny[:-1], "backbone.name=mobilenet_v3_small"], run, "on_train_batch_end", 1, ASKED)
    command = [sys.executable, "-m", "gesture.train", f"resume={run}"]
    both = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = sorted((process.wait(120), process.communicate()[1]) for process in both)
    assert [code for code, _ in ended] == [0, 2]
    assert "is being worked on by process" in ended[1][1]


@pytest.mark.parametrize("place", ["empty", "absent", "sweep", "sweep/0/config.yaml", "~nobody/run", ""])
def test_what_is_no_run_cannot_go_on(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "sweep/0").mkdir(parents=True)
    (tmp_path / "sweep/0/config.yaml").touch()
    before = sorted(tmp_path.rglob("*"))
    assert call(train.main, f"resume={tmp_path / place if place and place[0] != '~' else place}") == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert "is no run directory" in told
    assert sorted(tmp_path.rglob("*")) == before


def test_other_images_are_refused_and_the_run_keeps_what_it_has(
    rendered: Path, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = shutil.copytree(rendered, tmp_path / "images")
    words = last_wins([*tiny, f"data.root={images}"])
    run = tmp_path / "run"
    stopped(words, run, "on_train_batch_end", 2, ASKED)
    next(images.rglob("*.png")).unlink()
    assert call(train.main, f"resume={run}") == 2
    assert "are not those it began with" in capsys.readouterr().err
    assert json.loads((run / "result.json").read_text())["status"] == "interrupted"
    assert (run / "checkpoints" / "last.ckpt").is_file()


def test_a_checkpoint_is_saved_every_few_minutes(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    stopped([*tiny, "checkpoint.every_minutes=1e-9"], run, "on_train_batch_end", 4, KILLED)
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
