"""Naming images from the command line: what is printed and written, bad files, and refusals."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from conftest import FRAMES, GESTURES, call
from gesture import predict
from gesture.inference.recogniser import Recogniser
from gesture.model import checkpoint


def test_predictions_are_printed_and_written_alike(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "predictions.jsonl"
    words = [f"run={run_dir}", f"input={rendered / '00'}", f"output={output}", "batch_size=7", "accelerator=cpu"]
    assert call(predict.main, *words) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(lines) == GESTURES * FRAMES
    assert capsys.readouterr().out.splitlines() == [
        f"{line['path']}\t{line['gesture']}\t{line['probability']:.4f}" for line in lines
    ]
    assert all(line["probability"] == line["probabilities"][line["gesture"]] for line in lines)


def test_one_image_is_named_whatever_its_name_ends_in(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Path(shutil.copy(rendered / "00/01_palm/frame_00_01_0001.png", tmp_path / "My hand #1.camera"))
    assert call(predict.main, f"run={run_dir}/checkpoints/last.ckpt", f"input={image}") == 0
    assert capsys.readouterr().out.startswith(f"{image}\t")


def test_bad_images_are_named_and_the_others_read(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = rendered / "00/01_palm/frame_00_01_0001.png"
    shutil.copy(good, tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:1000])
    (tmp_path / "empty.png").touch()
    (tmp_path / "dangling.png").symlink_to("/nowhere/x.png")
    assert call(predict.main, f"run={run_dir}", f"input={tmp_path}", f"output={tmp_path / 'p.jsonl'}") == 1
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'good.png'}\t" in printed
    assert f"{tmp_path / 'cut.png'}: " in printed
    assert f"{tmp_path / 'empty.png'}: zero bytes" in printed
    assert f"{tmp_path / 'dangling.png'}: No such file or directory" in printed
    assert "3 of 4 images could not be read" in printed
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 1
    assert call(predict.main, f"run={run_dir}", f"input={tmp_path / 'empty.png'}") == 1
    assert "1 of 1 image could not be read" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_among_the_images_keeps_nobody_waiting(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "x.bmp")
    assert call(predict.main, f"run={run_dir}", f"input={tmp_path}") == 1
    assert "x.bmp: a pipe or a device, no file" in capsys.readouterr().out
    assert call(predict.main, f"run={run_dir}", f"input={tmp_path / 'x.bmp'}") == 1


def test_linked_folders_are_seen_as_training_sees_them(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    linked = tmp_path / "linked"
    (linked / "loop").mkdir(parents=True)
    (linked / "loop" / "up").symlink_to("..")
    for name in ("01_palm", "03_fist"):
        (linked / name).symlink_to(rendered / "00" / name)
    assert call(predict.main, f"run={run_dir}", f"input={linked}") == 0
    named = [line for line in capsys.readouterr().out.splitlines() if "\t" in line]
    assert len(named) == 2 * FRAMES


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a name")
def test_a_name_that_is_no_text_is_printed_nevertheless(
    run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(rendered / "00/01_palm/frame_00_01_0001.png", tmp_path / os.fsdecode(b"h\xff.png"))
    (tmp_path / os.fsdecode(b"bad\xff.png")).touch()
    assert call(predict.main, f"run={run_dir}", f"input={tmp_path}", f"output={tmp_path / 'p.jsonl'}") == 1
    printed = capsys.readouterr().out
    assert r"h\udcff.png" in printed
    assert r"bad\udcff.png: zero bytes" in printed
    [line] = (tmp_path / "p.jsonl").read_text().splitlines()
    assert os.fsencode(json.loads(line)["path"]).endswith(b"/h\xff.png")


def in_a_shell(line: str) -> "subprocess.CompletedProcess[str]":
    line = f"set -o pipefail; gesture() {{ '{sys.executable}' -m gesture.\"$@\"; }}; {line}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)


def test_a_reader_who_has_seen_enough_ends_it_quietly_and_the_output_is_whole(
    run_dir: Path, rendered: Path, tmp_path: Path
) -> None:
    done = in_a_shell(f"gesture predict run={run_dir} input={rendered} | head -1")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    done = in_a_shell(f"gesture predict run={run_dir} input={rendered} output={tmp_path / 'p.jsonl'} | head -1")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == len(list(rendered.rglob("*.png")))


def test_an_output_is_replaced_at_the_end_or_not_at_all(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diverged = checkpoint.read(run_dir / "checkpoints/best.ckpt")
    for key, value in diverged["state_dict"].items():
        if key.startswith("network.head."):
            value.fill_(1e38)
    checkpoint.write(diverged, tmp_path / "diverged.ckpt")
    Image.new("L", (64, 64), 128).save(tmp_path / "x.png")
    output = tmp_path / "p.jsonl"
    output.write_text("of an earlier run\n")
    assert call(predict.main, f"run={tmp_path / 'diverged.ckpt'}", f"input={tmp_path}", f"output={output}") == 2
    assert "its training diverged: take another run." in capsys.readouterr().err
    assert output.read_text() == "of an earlier run\n"


def not_finite(run: Path, folder: Path) -> Path:
    content = checkpoint.read(run / "checkpoints/best.ckpt")
    content["state_dict"]["network.stem.0.bias"].fill_(torch.nan)
    torch.save(content, folder / "nan.ckpt")
    return folder / "nan.ckpt"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run=nowhere", "input={image}"], "run='nowhere' does not exist"),
        (["run={empty}", "input={image}"], "has no checkpoints/best.ckpt"),
        (["run={run}", "input=nowhere.png"], "input='nowhere.png' does not exist"),
        (["run={run}", "input={empty}"], "holds no images"),
        (["run={text}", "input={image}"], "is no checkpoint: give a run, or a checkpoint that gesture.train wrote"),
        (["run={image}", "input={image}"], "is no checkpoint"),
        (["run={foreign}", "input={image}"], "is a checkpoint of another program"),
        (["run={nan}", "input={image}"], "its weights are not finite"),
        (["run={run}", "input={image}", "output={text}/p.jsonl"], "cannot be written to"),
        (["run={run}", "input={image}", "batch_size=0"], "batch_size=0 is out of range"),
        (["input={image}"], "run is not set: give run="),
        (["runs={run}", "input={image}"], "runs is not a setting: did you mean run"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    words: list[str], sentence: str, run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (tmp_path / "empty").mkdir()
    places = {
        "run": run_dir,
        "image": rendered / "00/01_palm/frame_00_01_0001.png",
        "empty": tmp_path / "empty",
        "text": tmp_path / "passwd",
        "foreign": tmp_path / "foreign.ckpt",
        "nan": not_finite(run_dir, tmp_path),
    }
    assert call(predict.main, *(word.format(**places) for word in words)) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("words", [["run=nowhere", "input={here}"], ["run={here}", "input=nowhere"]])
def test_what_is_not_there_is_told_without_waiting_for_torch(words: list[str], tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    typed = ["command", *(word.format(here=tmp_path) for word in words)]
    code = f"import sys, atexit; atexit.register(lambda: print('torch' in sys.modules)); sys.argv = {typed!r}\n"
    code += "from gesture import predict; predict.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert "does not exist" in done.stderr


def test_a_refusal_leaves_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert call(predict.main, "run=nowhere", "input=nowhere") == 2
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("output", ["{image}", "{link}", "{run}/checkpoints/best.ckpt", "{run}/predictions.csv"])
@pytest.mark.parametrize("source", ["{image}", "{folder}"])
def test_an_output_that_would_replace_what_is_read_is_refused(
    output: str, source: str, run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Path(shutil.copy(rendered / "00/01_palm/frame_00_01_0001.png", tmp_path / "x.png"))
    (tmp_path / "link.json").symlink_to(image)
    places = {"image": image, "link": tmp_path / "link.json", "folder": tmp_path, "run": run_dir}
    replaced = Path(output.format(**places))
    before = replaced.read_bytes()
    words = [f"run={run_dir}", f"input={source.format(**places)}", f"output={replaced}"]
    assert call(predict.main, *words) == 2
    assert capsys.readouterr().err == f"gesture: output='{replaced}' would replace what is read: give another output.\n"
    assert replaced.read_bytes() == before


def test_standard_output_holds_nothing_but_the_lines_asked_for(run_dir: Path, rendered: Path, tmp_path: Path) -> None:
    shutil.copy(rendered / "00/01_palm/frame_00_01_0001.png", tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    words = f"gesture predict run={run_dir} input={tmp_path}"
    for line in (f"{words} output=- | cat", f"{words} output=/dev/stdout > {tmp_path}/p.jsonl; cat {tmp_path}/p.jsonl"):
        done = in_a_shell(line)
        assert [json.loads(each)["path"] for each in done.stdout.splitlines()] == [str(tmp_path / "good.png")]
        assert "1 of 2 images could not be read" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="a shell's names of pipes")
def test_an_output_may_be_a_pipe_of_the_shell(run_dir: Path, rendered: Path, tmp_path: Path) -> None:
    done = in_a_shell(f"gesture predict run={run_dir} input={rendered / '00/01_palm'} output=>(wc -l >&2) | wc -l")
    assert (done.returncode, done.stdout.split(), done.stderr.split()) == (0, [str(FRAMES)], [str(FRAMES)])


def test_images_are_named_in_the_precision_that_is_asked_for(
    run_dir: Path, rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, load = [], Recogniser.load

    def noting(*words: Any) -> Recogniser:
        used.append(load(*words))
        return used[-1]

    monkeypatch.setattr(Recogniser, "load", noting)
    given = ["accelerator.precision=bf16-mixed", "accelerator.channels_last=false"]
    for words in ([], given, ["accelerator=cpu"], ["accelerator=cpu", *given]):
        assert call(predict.main, f"run={run_dir}", f"input={rendered / '00/01_palm'}", *words) == 0
    assert [recogniser.hardware.precision for recogniser in used] == ["32-true", "bf16-mixed"] * 2
    assert [recogniser.hardware.channels_last for recogniser in used] == [True, False] * 2


def test_a_full_disk_behind_standard_output_is_told_in_a_sentence(
    run_dir: Path, rendered: Path, disk_of: Callable[[str], Path]
) -> None:
    disk = disk_of("4k")
    (disk / "all there is").write_bytes(bytes(4096))
    for more in ("", "output=-"):
        done = in_a_shell(f"gesture predict run={run_dir} input={rendered / '00/01_palm'} {more} > '{disk}/named'")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            "gesture: a disk has no room for '<stdout>' (No space left on device): free some, or give a folder on "
            "another disk."
        )
        assert "Traceback" not in done.stderr
