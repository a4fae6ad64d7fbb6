"""Testing a run again: on its split, in its precision, with its gestures, wherever its files are now."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from conftest import call
from gesture import evaluate, train
from gesture.config.recorded import ADDED_BY_2
from gesture.config.schema import TrainConfig
from gesture.data.sources import synthetic
from gesture.training import again, fit


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations leave a directory where they are called."""
    monkeypatch.chdir(tmp_path)


def result_of(run: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((run / "result.json").read_text())  # type: ignore[no-any-return]


def test_evaluating_a_run_again_gives_the_same_metrics(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(evaluate.main, f"run={run_dir}", f"output={tmp_path / 'again.json'}") == 0
    assert "The same metrics as the run recorded." in capsys.readouterr().out
    metrics = json.loads((tmp_path / "again.json").read_text())["metrics"]
    recorded = result_of(run_dir)["metrics"]
    assert metrics == {name: recorded[name] for name in metrics}
    assert len(metrics) == 6


def test_evaluation_reads_the_recorded_split(run_dir: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run_dir, tmp_path / "run")
    record = json.loads((copied / "split.json").read_text())
    record["test"] = record["train"][:5]
    (copied / "split.json").write_text(json.dumps(record))
    assert call(evaluate.main, f"run={copied}", f"output={tmp_path / 'again.json'}") == 0
    metrics = json.loads((tmp_path / "again.json").read_text())["metrics"]
    assert metrics["test/loss"] != result_of(run_dir)["metrics"]["test/loss"]


def test_evaluation_follows_data_that_moved(run_dir: Path, rendered: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(rendered, tmp_path / "moved")
    output = tmp_path / "again.json"
    assert call(evaluate.main, f"run={run_dir}/checkpoints/best.ckpt", f"root={moved}", f"output={output}") == 0
    recorded = result_of(run_dir)["metrics"]
    assert json.loads(output.read_text())["metrics"]["test/loss"] == recorded["test/loss"]


def test_evaluation_on_other_images_is_refused(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer = shutil.copytree(rendered, tmp_path / "fewer")
    shutil.rmtree(fewer / "00")
    assert call(evaluate.main, f"run={run_dir}", f"root={fewer}") == 2
    assert "images of the recorded split are not below" in capsys.readouterr().err


def test_evaluation_says_when_the_images_are_not_the_runs(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = shutil.copytree(rendered, tmp_path / "changed")
    one, other = changed / "00/01_palm/frame_00_01_0001.png", changed / "00/02_l/frame_00_02_0001.png"
    one.write_bytes(other.read_bytes())
    assert call(evaluate.main, f"run={run_dir}", f"root={changed}") == 0
    assert "The images are not the run's" in capsys.readouterr().out


def test_evaluation_of_a_run_that_did_not_end_says_so(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = shutil.copytree(run_dir, tmp_path / "stopped")
    (stopped / "result.json").write_text(json.dumps({**result_of(run_dir), "metrics": {}, "status": "interrupted"}))
    assert call(evaluate.main, f"run={stopped}") == 0
    assert "The run recorded no test" in capsys.readouterr().out
    (stopped / "checkpoints" / "best.ckpt").unlink()
    assert call(evaluate.main, f"run={stopped}/checkpoints/last.ckpt") == 0
    assert call(evaluate.main, f"run={stopped}") == 2
    assert "give its checkpoints/last.ckpt" in capsys.readouterr().err


def test_evaluation_without_the_images_asks_for_them(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(evaluate.main, f"run={run_dir}", f"root={tmp_path / 'nowhere'}") == 2
    assert "give root=<where they are now>" in capsys.readouterr().err


def as_version_1(run: Path) -> None:
    """What the first version would have recorded of a run."""
    plain = yaml.safe_load((run / "config.yaml").read_text())
    del plain["version"]
    for group, added in ADDED_BY_2.items():
        for name in added:
            plain[group].pop(name, None)
    plain["data"] |= dict.fromkeys(("pattern", "subjects", "frames", "seed", "download"))
    (run / "config.yaml").write_text(yaml.safe_dump({key: value for key, value in plain.items() if value != {}}))
    for name in ("best.ckpt", "last.ckpt"):
        content = torch.load(run / "checkpoints" / name, weights_only=True)
        content["gesture"] |= {"format": 1, "config": plain}
        del content["gesture"]["hardware"]
        torch.save(content, run / "checkpoints" / name)
    record = result_of(run)
    for name in ("test/nll", "val/nll"):
        del record["metrics"][name]
    (run / "result.json").write_text(json.dumps(record))


def test_a_run_of_version_1_gives_the_metrics_it_recorded(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(run_dir, tmp_path / "run")
    as_version_1(copied)
    assert call(evaluate.main, f"run={copied}") == 0
    assert "The same metrics as the run recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recorded", "sentence"),
    [
        ({"test/loss": 2.5, "test/f1": None}, "The same metrics as the run recorded."),
        (
            {"test/loss": 2.50001, "test/f1": None},
            "The same metrics as the run recorded, but for rounding (test/loss by 4e-06 of its value).",
        ),
        ({"test/loss": 2.501, "test/f1": None}, "The run recorded other metrics: test/loss 2.501000, "),
        ({"test/loss": 2.5, "test/f1": 0.5}, "The run recorded other metrics: test/loss 2.500000, test/f1 0.500000."),
        ({}, "The run recorded no test: it did not end by itself."),
    ],
)
def test_it_says_how_far_metrics_are_from_those_recorded(recorded: dict[str, float | None], sentence: str) -> None:
    assert again.compare({"test/loss": 2.5, "test/f1": None}, recorded).startswith(sentence)


def test_a_small_loss_is_no_other_one_for_the_digits_a_probability_has() -> None:
    assert "but for rounding" in again.compare({"test/loss": 1.00e-5}, {"test/loss": 1.01e-5})
    assert "other metrics" in again.compare({"test/loss": 1e-5}, {"test/loss": 2e-5})


def test_gestures_are_matched_by_name_whatever_folders_came_since(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = shutil.copytree(rendered, tmp_path / "more")
    new = more / "00" / "00_before_all"
    new.mkdir()
    shutil.copy(more / "00/01_palm/frame_00_01_0001.png", new / "frame_00_00_0001.png")
    assert call(evaluate.main, f"run={run_dir}", f"root={more}") == 0
    assert "The same metrics as the run recorded." in capsys.readouterr().out


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_the_accelerator_may_be_named(prefix: str, run_dir: Path) -> None:
    assert call(evaluate.main, f"run={run_dir}", f"{prefix}accelerator=cpu") == 0


def test_a_cuda_run_is_tested_on_a_cpu_in_a_precision_that_it_has(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(run_dir, tmp_path / "run")
    record = result_of(copied)
    record["device"] |= {"accelerator": "cuda", "precision": "16-mixed"}
    (copied / "result.json").write_text(json.dumps(record))
    assert call(evaluate.main, f"run={copied}", "accelerator=cpu") == 0
    output = capsys.readouterr().out
    assert "trained on cuda in 16-mixed" in output
    assert "testing on cpu in " in output
    assert "16-mixed\n" not in output.split("testing on cpu in ")[1].splitlines()[0]


def test_a_bf16_run_is_tested_in_what_another_processor_computes_in(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(run_dir, tmp_path / "run")
    record = result_of(copied)
    record["device"] |= {"precision": "bf16-mixed"}
    (copied / "result.json").write_text(json.dumps(record))
    monkeypatch.setattr("gesture.model.hardware._multiplies_bf16", lambda: False)
    monkeypatch.setattr("gesture.model.hardware._gains_by_bf16", lambda: False)
    assert call(evaluate.main, f"run={copied}", "accelerator=cpu") == 0
    assert "testing on cpu in 32-true" in capsys.readouterr().out


def test_a_weight_file_that_is_gone_and_a_cache_that_cannot_be_made_do_not_matter(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(run_dir, tmp_path / "run")
    plain = yaml.safe_load((copied / "config.yaml").read_text())
    plain["backbone"]["weights"] = "/gone/resnet.pth"
    plain["data"]["cache_dir"] = "/proc/scratch/cache"
    (copied / "config.yaml").write_text(yaml.safe_dump(plain))
    monkeypatch.chdir(tmp_path)
    assert call(evaluate.main, f"run={copied}") == 0
    assert "The same metrics as the run recorded." in capsys.readouterr().out
    assert (tmp_path / "data" / "cache").is_dir()
    assert call(evaluate.main, f"run={copied}", f"cache_dir={tmp_path / 'other'}") == 0
    assert (tmp_path / "other").is_dir()


@pytest.mark.parametrize("name", ["result.json", "split.json", "config.yaml", "checkpoints/best.ckpt"])
@pytest.mark.parametrize("part", [0.0, 0.5])
def test_a_damaged_file_of_a_run_is_named_in_one_line(
    name: str, part: float, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(run_dir, tmp_path / "run")
    content = (copied / name).read_bytes()
    (copied / name).write_bytes(content[: int(part * len(content))])
    assert call(evaluate.main, f"run={copied}") == 2
    errors = capsys.readouterr().err
    assert Path(name).name in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("name", ["result.json", "split.json", "config.yaml"])
def test_a_record_that_says_nothing_is_named_in_one_line(
    name: str, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(run_dir, tmp_path / "run")
    (copied / name).write_text("{}")
    assert call(evaluate.main, f"run={copied}") == 2
    errors = capsys.readouterr().err
    assert name in errors
    assert errors.count("\n") == 1


@pytest.fixture
def run_of_hands(tiny: list[str], tmp_path: Path) -> Path:
    """A run of hands that were rendered for it, into `hands` beside it."""
    words = ["data=synthetic", "data.subjects=3", "data.frames=2", "data.batch_size=8", f"hydra.run.dir={tmp_path}/run"]
    others = [word for word in tiny if not word.startswith(("data.root", "data.batch_size"))]
    assert call(train.main, *others, *words, f"data.root={tmp_path / 'hands'}") == 0
    return tmp_path / "run"


def test_hands_are_rendered_again_where_they_can_be_but_not_in_a_root_that_is_given(
    run_of_hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = (tmp_path / "hands").rename(tmp_path / "moved")
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "empty", tmp_path / "missing", moved / "synthetic-v1-3x2-seed0"):
        assert call(evaluate.main, f"run={run_of_hands}", f"root={root}") == 2
        assert capsys.readouterr().err == (
            f"gesture: root='{root}' does not hold the run's synthetic-v1-3x2-seed0: give the folder that does, or no "
            "root.\n"
        )
    assert {path.name for path in tmp_path.iterdir()} == {"run", "moved", "empty"}
    assert list((tmp_path / "empty").iterdir()) == []
    assert call(evaluate.main, f"run={run_of_hands}", f"root={moved}") == 0
    assert "The same metrics as the run recorded." in capsys.readouterr().out

    plain = yaml.safe_load((run_of_hands / "config.yaml").read_text())
    plain["data"]["root"] = "/proc/of/another/machine"
    (run_of_hands / "config.yaml").write_text(yaml.safe_dump(plain))
    monkeypatch.chdir(tmp_path)
    assert call(evaluate.main, f"run={run_of_hands}") == 0
    assert "The same metrics as the run recorded." in capsys.readouterr().out
    assert (tmp_path / "data" / "synthetic").is_dir()


@pytest.mark.parametrize("setting", ["cache_dir", "output"])
def test_a_place_that_cannot_be_written_to_is_named_as_evaluate_names_it(
    setting: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(evaluate.main, f"run={run_dir}", f"{setting}=/proc/x/y") == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"gesture: {setting} '/proc/x")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("output", ["{run}/result.json", "{run}/checkpoints/last.ckpt", "{image}"])
def test_an_output_that_would_replace_what_is_read_is_refused(
    output: str, run_dir: Path, rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced = Path(output.format(run=run_dir, image=rendered / "00/01_palm/frame_00_01_0001.png"))
    before = replaced.read_bytes()
    assert call(evaluate.main, f"run={run_dir}/checkpoints/last.ckpt", f"output={replaced}") == 2
    assert capsys.readouterr().err == f"gesture: output='{replaced}' would replace what is read: give another output.\n"
    assert replaced.read_bytes() == before


def test_standard_output_holds_the_record_alone(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(evaluate.main, f"run={run_dir}", "output=-") == 0
    printed = capsys.readouterr()
    recorded, metrics = result_of(run_dir)["metrics"], json.loads(printed.out)["metrics"]
    assert metrics == {name: recorded[name] for name in metrics}
    assert "The same metrics as the run recorded." in printed.err
    assert call(evaluate.main, f"run={run_dir}") == 0
    assert "The same metrics as the run recorded." in capsys.readouterr().out


def test_an_output_that_is_a_folder_is_refused_before_the_work(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(evaluate.main, f"run={run_dir}", "output=.") == 2
    assert capsys.readouterr().err.startswith("gesture: output='.' is a folder, no file")


def bf16(run_dir: Path, tmp_path: Path) -> Path:
    """A copy of a run that says it computed in bf16."""
    copied = shutil.copytree(run_dir, tmp_path / "run")
    record = result_of(copied)
    record["device"] |= {"precision": "bf16-mixed", "channels_last": True}
    (copied / "result.json").write_text(json.dumps(record))
    return copied


@pytest.mark.parametrize("words", [[], ["accelerator=cpu"]])
def test_a_run_is_tested_in_the_precision_that_is_asked_for(
    words: list[str], run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bf16(run_dir, tmp_path)
    assert call(evaluate.main, f"run={run}", "accelerator.name=cpu", "accelerator.precision=32-true", *words) == 0
    output = capsys.readouterr().out
    assert "testing on cpu in 32-true" in output
    assert "trained on cpu in bf16-mixed, which gives other digits" in output
    assert call(evaluate.main, f"run={run_dir}", "accelerator.precision=bf16-mixed", "accelerator=cpu") == 0
    assert "testing on cpu in bf16-mixed" in capsys.readouterr().out


def test_the_order_in_memory_is_the_runs_unless_another_is_asked_for(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, used = bf16(run_dir, tmp_path), []
    build = fit.build

    def noting(config: TrainConfig, *further: Any, **named: Any) -> fit.Components:
        components = build(config, *further, **named)
        used.append(components.hardware.channels_last)
        return components

    monkeypatch.setattr(fit, "build", noting)
    for words in (["accelerator=cpu"], ["accelerator.channels_last=false"]):
        assert call(evaluate.main, f"run={run}", *words) == 0
    assert used == [True, False]


def test_settings_that_only_training_reads_are_no_settings_of_evaluate(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(evaluate.main, f"run={run_dir}", "accelerator.compile=true") == 2
    assert capsys.readouterr().err.startswith("gesture: accelerator.compile is not a setting")


def test_a_file_that_is_no_checkpoint_is_told_as_that(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    for path in (run_dir / "result.json", tmp_path / "passwd"):
        assert call(evaluate.main, f"run={path}") == 2
        assert capsys.readouterr().err == (
            f"gesture: '{path}' is no checkpoint: give a run, or a checkpoint that gesture.train wrote.\n"
        )


def test_a_checkpoint_without_its_run_is_not_tested(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = shutil.copy(run_dir / "checkpoints/best.ckpt", tmp_path / "alone.ckpt")
    assert call(evaluate.main, f"run={alone}") == 2
    assert capsys.readouterr().err.startswith(f"gesture: run='{alone}' is not part of a run")


def filled(disk: Path) -> Path:
    """A file system with no room left."""
    with suppress(OSError), (disk / "all there is").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return disk


def test_an_output_on_a_full_disk_is_told_in_a_sentence(
    run_dir: Path, disk_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    output = filled(disk_of("1m")) / "again.json"
    assert call(evaluate.main, f"run={run_dir}", f"output={output}") == 1
    assert capsys.readouterr().err == (
        f"gesture: a disk has no room for '{output}' (No space left on device): free some, or give a folder on another "
        "disk.\n"
    )


def test_hands_that_fill_a_disk_are_told_in_a_sentence_that_names_their_folder(
    run_of_hands: Path,
    disk_of: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = disk_of("1m")
    plain = yaml.safe_load((run_of_hands / "config.yaml").read_text())
    plain["data"]["root"] = str(disk)
    (run_of_hands / "config.yaml").write_text(yaml.safe_dump(plain))
    monkeypatch.setattr(synthetic, "check_room", lambda *words: None)  # there was room, until others took it
    assert call(evaluate.main, f"run={run_of_hands}") == 1
    assert capsys.readouterr().err == (
        f"gesture: a disk has no room for '{disk}' (No space left on device): free some, or give a folder on another "
        "disk.\n"
    )
