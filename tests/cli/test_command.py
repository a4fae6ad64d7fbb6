"""Commands as a shell meets them: words as typed, exit codes, what is said and what stays on disk."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gesture
from conftest import call
from gesture import train
from gesture.config.refusals import ConfigError

PYTHON = shlex.quote(sys.executable)


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What bash makes of a line in which `gesture` stands for the command of this environment."""
    line = line.replace("gesture.", f"{PYTHON} -m gesture.")
    return subprocess.run(
        ["bash", "-c", line], cwd=cwd, capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )


def words(tiny: list[str]) -> str:
    return shlex.join(tiny)


def test_a_pattern_works_as_a_shell_gives_it(rendered: Path, tiny: list[str], tmp_path: Path) -> None:
    root = tmp_path / "a=b (1) #2"
    root.symlink_to(rendered / "00")
    line = (
        f"gesture.train data=folder data.root={shlex.quote(str(root))} data.pattern='frame_(?P<subject>\\d+)_' "
        f"{words(tiny[1:])} hydra.run.dir=run"
    )
    done = shell(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["dataset"]["subjects"] == 1
    again = shell("gesture.evaluate run=run accelerator=cpu", tmp_path)
    assert again.returncode == 0, again.stderr
    image = next(path for path in root.rglob("*.png"))
    named = shell(f"gesture.predict run=run input={shlex.quote(str(image))} accelerator=cpu", tmp_path)
    assert named.returncode == 0, named.stderr
    assert named.stdout.startswith(f"{image}\t")


def test_a_tilde_in_a_path_is_the_home_directory(rendered: Path, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(rendered)
    done = shell(f"gesture.train data.root=~/images {words(tiny[1:])} hydra.run.dir=run", tmp_path, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_flags_stand_anywhere(tmp_path: Path) -> None:
    for line in ("gesture.train --cfg job data.batch_size=7", "gesture.train data.batch_size=7 --cfg job"):
        done = shell(line, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "batch_size: 7" in done.stdout


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("gesture.train lr=1", "lr is not a setting: did you mean optimizer.lr"),
        ("gesture.train epochs=5", "trainer.max_epochs"),
        ("gesture.train batch=8", "did you mean data.batch_size?"),
        ("gesture.train optimizer.lr=abc", "optimizer.lr=abc must be a number and above 0."),
        ("gesture.train optimizer.lr=1e-3,1e-4", "to try one after the other, add -m"),
        ("gesture.train data.image_size=224", "such as data.image_size=[224,224]"),
        ("gesture.train split=subject split.test_subjects=9", "such as split.test_subjects=[9]"),
        ("gesture.train ~optimizer.lr", "optimizer.lr is not set: give optimizer.lr=..."),
        ("gesture.train --config-name foo", "give --config-dir"),
        ("gesture.train --config-dir nowhere", "--config-dir 'nowhere' is no folder"),
        ("gesture.train --resolve", "--resolve goes with --cfg job"),
        ("gesture.train --experimental-rerun x", "executes a pickle"),
        ("gesture.train --no-such-flag", "unrecognized arguments: --no-such-flag"),
        (
            "gesture.train backbone.name=resnet5",
            "resnet18, resnet34, resnet101? --help lists all 80.",
        ),
        ("gesture.train optimizer=[adam,sgd]", "optimizer takes one"),
        ("gesture.train seed=1 seed=2", "seed is given twice"),
        ("gesture.train hydra.run.dir=", "hydra.run.dir is empty"),
        ("gesture.train hydra.run.dir=/proc/foo", "hydra.run.dir '/proc/foo' cannot be written to"),
        ("gesture.train hydra.run.dir=/proc", "hydra.run.dir '/proc' cannot be written to"),
        ("gesture.train -m seed=1,2 hydra.sweep.dir=", "hydra.sweep.dir is empty"),
        ("gesture.train -m seed=1,2 hydra.sweep.dir=/proc/foo", "hydra.sweep.dir '/proc/foo' cannot be written to"),
        ("gesture.train -m seed=1,2 hydra/launcher=slurm", "come with the extra `sweep`"),
        ("gesture.train hydra.rnu.dir=x", "is none of Hydra's settings"),
        ("gesture.evaluate run=nowhere", "run='nowhere' does not exist"),
        ("gesture.predict run=/nonexistent input=x.png", "'x.png' does not exist"),
        (
            "gesture.evaluate run=x split=val",
            "split='val' is unknown: choose one of fold, folder, loso, random, subject",
        ),
        ("gesture.predict run=x input=y data=folder", "data is no setting of predict: choose one of run, input"),
        ("gesture.predict run=x input=y '~data'", "data is no setting of predict: "),
        ("gesture.evaluate run=x experiment=fast", "experiment is no setting of evaluate: "),
        ("gesture.evaluate logs/x/y", "run='logs/x/y' does not exist: give a run directory"),
        ("gesture.predict x.png", "did you mean run=x.png or input=x.png?"),
        ("gesture.train logs/x/y", "cannot be read as <setting>=<value>"),
        ("gesture.evaluate -m run=a,b", "evaluate takes no -m: call it once for each run."),
        ("gesture.predict run=a,b input=x hydra.mode=MULTIRUN", "predict takes no -m"),
        ("gesture.evaluate run=x accelerator=cpu,cuda", "accelerator=cpu,cuda gives several values: give one."),
        ("gesture.train logger.wandb.project=x", "logger.wandb.project is read by logger=wandb only: give that too"),
        ("gesture.train logger=none +logger.mlflow.experiment=x", "is read by logger=mlflow only"),
    ],
)
def test_refusals_are_one_line_with_the_remedy(line: str, sentence: str, tmp_path: Path) -> None:
    done = shell(line, tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.startswith("gesture: ")
    assert (done.stderr.count("\n"), done.stdout) == (1, "")
    assert list(tmp_path.iterdir()) == []


def test_own_group_files_come_before_the_packaged_ones(tmp_path: Path) -> None:
    (tmp_path / "own" / "accelerator").mkdir(parents=True)
    (tmp_path / "own" / "accelerator" / "cpu.yaml").write_text(
        "name: cpu\nprecision: 32-true\nchannels_last: false\ncompile: false\ngraphs: false\n"
    )
    done = shell("gesture.train --config-dir own --cfg job -p accelerator.cpu", tmp_path)
    assert "channels_last: false" in done.stdout


def test_a_run_whose_reader_goes_away_goes_on_to_its_end(tiny: list[str], tmp_path: Path) -> None:
    line = f"gesture.train {words(tiny)} trainer.max_epochs=2 hydra.run.dir=run | head -1"
    done = shell(line.replace("trainer.max_epochs=1 ", ""), tmp_path)
    assert done.stderr == ""
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "done"
    assert "run directory:" in (tmp_path / "run" / "train.log").read_text()


def test_a_notebooks_backend_for_plots_does_not_matter(tiny: list[str], tmp_path: Path) -> None:
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = shell(f"gesture.train {words(tiny)} hydra.run.dir=run", tmp_path, **backend)
    assert done.returncode == 0, done.stderr
    again = shell("gesture.evaluate run=run", tmp_path, **backend)
    assert again.returncode == 0, again.stderr


def test_python_trains_as_the_command_does(tiny: list[str], tmp_path: Path) -> None:
    result = gesture.fit(*tiny, f"hydra.run.dir={tmp_path / 'run'}")
    recorded = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result.status == recorded["status"] == "done"
    assert result.score == recorded["score"]
    with pytest.raises(ConfigError, match=r"did you mean optimizer\.lr"):
        gesture.fit("lr=1")


def test_python_is_told_what_it_gives_wrongly() -> None:
    for words in (["seed=1"],), (1,):
        with pytest.raises(ConfigError, match="give each as a text of its own"):
            gesture.fit(*words)
    with pytest.raises(ConfigError, match="'backbone=resnet50' is no command"):
        gesture.compose("backbone=resnet50")
    assert re.fullmatch(r"\d+\.\d+\.\d+", gesture.__version__)


@pytest.mark.parametrize("name", ["über", "手", "it's", "a b"])
def test_a_runs_name_is_taken_as_typed(name: str) -> None:
    assert gesture.compose("train", f"name={name}").name == name


def test_python_composes_as_the_command_does() -> None:
    assert gesture.compose("train", "data=folder", "data.root=/a=b (1)").data.root == "/a=b (1)"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a closed terminal is not told here")
def test_nohup_keeps_a_run_when_the_terminal_closes(tiny: list[str], tmp_path: Path) -> None:
    line = ["nohup", sys.executable, "-m", "gesture.train", *tiny, "hydra.run.dir=run"]
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "run" / "result.json").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 0


@pytest.mark.parametrize("multirun", [False, True])
def test_an_older_log_is_neither_continued_nor_removed(multirun: bool, tiny: list[str], tmp_path: Path) -> None:
    log = tmp_path / ("sweep/0-seed-1" if multirun else "run") / "train.log"
    log.parent.mkdir(parents=True)
    log.write_text("old\n")
    place = "-m seed=1,2 hydra.sweep.dir=sweep" if multirun else "hydra.run.dir=run"
    done = shell(f"gesture.train {words(tiny)} {place}", tmp_path)
    assert done.returncode == (1 if multirun else 2)
    assert "holds a run already (train.log)" in done.stdout + done.stderr
    assert log.read_text() == "old\n"
    assert not (log.parent / "checkpoints").exists()


def test_a_full_run_directory_is_not_used_twice(
    run_dir: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run_dir / "result.json").read_text()
    assert call(train.main, *tiny, f"hydra.run.dir={run_dir}") == 2
    assert (run_dir / "result.json").read_text() == before
    assert "holds a run" in capsys.readouterr().err
