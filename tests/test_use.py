"""Using a run: evaluate, predict, and gesture.load."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import gesture
from conftest import FRAMES, GESTURES, call
from gesture import evaluate, predict, train
from gesture.config import ConfigError
from gesture.model.network import GestureNetwork
from gesture.training import fit


def result_of(run: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((run / "result.json").read_text())  # type: ignore[no-any-return]


def test_evaluating_a_run_again_gives_the_same_figures(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(evaluate.main, f"run={run_dir}", f"output={tmp_path / 'again.json'}") == 0
    assert "The same figures as the run recorded." in capsys.readouterr().out
    again = json.loads((tmp_path / "again.json").read_text())["metrics"]
    recorded = result_of(run_dir)["metrics"]
    assert again == {name: recorded[name] for name in again}
    assert len(again) == 5


def test_records_of_earlier_versions_can_be_evaluated(run_dir: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run_dir, tmp_path / "run")
    recorded = (copied / "config.yaml").read_text()
    assert "half_size_fraction" in recorded
    lines = [line for line in recorded.splitlines() if "half_size_fraction" not in line and "graphs" not in line]
    (copied / "config.yaml").write_text("\n".join(lines))
    assert call(evaluate.main, f"run={copied}", f"output={tmp_path / 'again.json'}") == 0
    again = json.loads((tmp_path / "again.json").read_text())["metrics"]
    assert again["test/loss"] == result_of(run_dir)["metrics"]["test/loss"]


def test_evaluation_reads_the_recorded_split(run_dir: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run_dir, tmp_path / "run")
    record = json.loads((copied / "split.json").read_text())
    record["test"] = record["train"][:5]
    (copied / "split.json").write_text(json.dumps(record))
    assert call(evaluate.main, f"run={copied}", f"output={tmp_path / 'again.json'}") == 0
    again = json.loads((tmp_path / "again.json").read_text())["metrics"]
    assert again["test/loss"] != result_of(run_dir)["metrics"]["test/loss"]


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
    assert "The run recorded no test figures" in capsys.readouterr().out
    (stopped / "checkpoints" / "best.ckpt").unlink()
    assert call(evaluate.main, f"run={stopped}/checkpoints/last.ckpt") == 0
    assert call(evaluate.main, f"run={stopped}") == 2
    assert "give its checkpoints/last.ckpt" in capsys.readouterr().err


def test_evaluation_without_the_images_asks_for_them(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(evaluate.main, f"run={run_dir}", f"root={tmp_path / 'nowhere'}") == 2
    assert "give root=<where they are now>" in capsys.readouterr().err


@pytest.mark.parametrize(
    "array", [np.zeros((40, 60), np.float32), np.zeros((40, 60), np.uint16), np.zeros((40, 60, 4), np.uint8)]
)
def test_arrays_of_other_kinds_are_refused(array: NDArray[Any], run_dir: Path) -> None:
    with pytest.raises(TypeError, match="arrays are uint8"):
        gesture.load(run_dir).predict([array])


def test_one_picture_alone_is_refused(run_dir: Path) -> None:
    with pytest.raises(TypeError, match=r"give a list, \[picture\] for one"):
        gesture.load(run_dir).predict("hand.png")


def test_predictions_are_printed_and_written_and_agree_with_the_run(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "predictions.jsonl"
    assert call(predict.main, f"run={run_dir}", f"input={rendered / '00'}", f"output={output}", "batch_size=7") == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    printed = capsys.readouterr().out.splitlines()
    assert len(lines) == len(printed) == GESTURES * FRAMES
    assert printed[0] == f"{lines[0]['path']}\t{lines[0]['gesture']}\t{lines[0]['probability']:.4f}"
    recorded = {
        row.split(",")[1]: row.split(",")[4:] for row in (run_dir / "predictions.csv").read_text().splitlines()[1:]
    }
    for line in lines:
        path = Path(line["path"]).relative_to(rendered).as_posix()
        if path in recorded:
            assert list(line["probabilities"].values()) == pytest.approx([float(p) for p in recorded[path]], abs=1e-5)


def test_bad_images_are_passed_over_with_a_message_and_exit_1(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = rendered / "00/01_palm/frame_00_01_0001.png"
    shutil.copy(good, tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(good.read_bytes()[:1000])
    (tmp_path / "c.png").touch()
    assert call(predict.main, f"run={run_dir}", f"input={tmp_path}") == 1
    output = capsys.readouterr().out
    assert f"{tmp_path / 'b.png'}\t" in output
    assert "a.png: " in output
    assert "c.png: zero bytes" in output
    assert "2 of 3 images could not be read" in output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run=nowhere", "input={image}"], "run='nowhere' does not exist"),
        (["run={empty}", "input={image}"], "has no checkpoints/best.ckpt"),
        (["run={run}", "input=nowhere.png"], "input='nowhere.png' does not exist"),
        (["run={run}", "input={empty}"], "holds no images"),
        (["run={image}", "input={image}"], "is damaged or holds more than plain data"),
        (["run={foreign}", "input={image}"], "is no checkpoint of this version of gesture"),
        (["input={image}"], "run is not set: give run="),
        (["runs={run}"], "runs is not a setting: did you mean run"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    words: list[str], sentence: str, run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    (tmp_path / "empty").mkdir()
    places = {
        "run": run_dir,
        "image": rendered / "00/01_palm/frame_00_01_0001.png",
        "empty": tmp_path / "empty",
        "foreign": tmp_path / "foreign.ckpt",
    }
    assert call(predict.main, *(word.format(**places) for word in words)) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.count("\n") == 1


def test_a_refusal_leaves_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert call(predict.main, "run=nowhere", "input=nowhere") == 2
    assert here.is_dir()


def test_files_pillow_images_and_arrays_give_the_same_prediction(run_dir: Path, rendered: Path) -> None:
    recogniser = gesture.load(run_dir)
    path = rendered / "00/01_palm/frame_00_01_0001.png"
    image = Image.open(path)
    gray = np.asarray(image)
    predictions = recogniser.predict([path, str(path), image, gray, np.stack([gray] * 3, axis=2)])
    assert all(prediction.probabilities == pytest.approx(predictions[0].probabilities) for prediction in predictions)
    assert sum(predictions[0].probabilities.values()) == pytest.approx(1)
    assert predictions[0].probability == max(predictions[0].probabilities.values())
    assert recogniser.predict([]) == []


def test_the_reports_checkpoint_reloads_safely_and_gives_the_same_logits(
    tiny: list[str], rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[GestureNetwork] = []

    def keep(parts: fit.Parts, *args: Any) -> fit.Outcome:
        outcome = fit_and_test(parts, *args)
        trained.append(parts.classifier.network)  # with the best checkpoint's weights
        return outcome

    fit_and_test = fit.fit_and_test
    monkeypatch.setattr(fit, "fit_and_test", keep)
    words = [word for word in tiny if not word.startswith("backbone")]
    assert call(train.main, "experiment=report_resnet18", *words, f"hydra.run.dir={tmp_path}") == 0
    recogniser = gesture.load(tmp_path / "checkpoints/best.ckpt")  # reads with weights_only=True
    pixels = np.stack([recogniser.prepare(path) for path in sorted(rendered.rglob("*.png"))[:20]])
    with torch.inference_mode():
        network = trained[0].to(memory_format=torch.contiguous_format).eval()  # other layouts round differently
        expected = network(torch.from_numpy(pixels).unsqueeze(1))
    assert torch.equal(recogniser.logits(pixels), expected)


def test_a_checkpoint_alone_suffices(run_dir: Path, rendered: Path, tmp_path: Path) -> None:
    alone = shutil.copy(run_dir / "checkpoints/best.ckpt", tmp_path / "alone.ckpt")
    image = rendered / "00/01_palm/frame_00_01_0001.png"
    assert gesture.load(alone).predict([image]) == gesture.load(run_dir).predict([image])


def test_loading_from_python_raises_what_the_command_would_print() -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        gesture.load("nowhere")
