"""What strangers made: refused in a sentence, within bounds of memory, and nothing of it is executed."""

import io
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from conftest import call
from gesture import evaluate, predict, train
from gesture.config.recorded import from_yaml
from gesture.config.refusals import ConfigError
from gesture.data.cache import open_cache
from gesture.data.decoded import prune
from gesture.data.files import Archive
from gesture.data.sources.leapgestrecog import read
from gesture.runs.collection import collect
from gesture.runs.directory import RunDirectory

MOST_MB = 400
"""What a refusal may take; each of these would take a gigabyte or more."""


def said_of(program: str, folder: Path, *words: str) -> dict[str, str]:
    """What a program that prints `<name>\t<sentence>` says of each file, in a process whose memory is watched."""
    watched = f"""
import resource, sys
from pathlib import Path
{program}
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
before = peak()
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        use(path)
    except Exception as error:
        print(path.name, f"{{type(error).__name__}}: {{error}}", sep="\\t")
    else:
        print(path.name, "taken", sep="\\t")
print("peak", peak() - before, sep="\\t")
"""
    done = subprocess.run(
        [sys.executable, "-c", watched, str(folder), *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert int(said.pop("peak")) < MOST_MB, said
    return said


class Evil:
    """A pickle of it makes a file where it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.canary}'",)


def deflated(source: Path, target: Path) -> None:
    with (
        zipfile.ZipFile(source) as whole,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
    ):
        for member in whole.infolist():
            with whole.open(member) as content, packed.open(member.filename, "w", force_zip64=True) as out:
                shutil.copyfileobj(content, out, 2**20)


def crowded(path: Path) -> None:
    """A zip of a million and one empty files, which ends well."""
    entry = b"PK\x01\x02" + struct.pack("<4B4HL2L5H2L", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    local = b"PK\x03\x04" + struct.pack("<2B4HL2L2H", 20, 0, 0, 0, 0, 33, 0, 0, 0, 1, 0) + b"x"
    entries = entry * 1_000_001
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(entries), len(local), 0)
    path.write_bytes(local + entries + end)


@pytest.fixture(scope="module")
def checkpoints(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files that would execute something or fill the memory, and the file that they would make."""
    folder = tmp_path_factory.mktemp("checkpoints")
    canary = folder.parent / "canary"
    good = torch.load(run_dir / "checkpoints" / "best.ckpt", weights_only=True)
    state, entry = good["state_dict"], good["gesture"]
    first = next(iter(state))

    def save(name: str, **changed: Any) -> None:
        torch.save({**good, **changed}, folder / name)

    def saying(**changed: Any) -> dict[str, Any]:
        return {**entry, **changed}

    save("code.ckpt", evil=Evil(canary))
    torch.save({"weight": Evil(canary)}, folder / "legacy.ckpt", _use_new_zipfile_serialization=False)
    save("expanded.ckpt", state_dict={**state, first: torch.zeros(1).expand(2**31)})
    save("meta.ckpt", state_dict={**state, first: torch.empty(3, device="meta")})
    save("picture.ckpt", gesture=saying(image_size=[100_000, 100_000]))
    save("huge.ckpt", gesture=saying(config={**entry["config"], "backbone": {"name": "vit_h_14"}}))
    torch.save({"weight": torch.zeros(2**28)}, folder / "whole.ckpt")
    deflated(folder / "whole.ckpt", folder / "bomb.ckpt")
    (folder / "whole.ckpt").unlink()
    crowded(folder / "crowded.ckpt")
    return folder, canary


def test_checkpoints_are_refused(checkpoints: tuple[Path, Path]) -> None:
    folder, canary = checkpoints
    program = """
from gesture.model import checkpoint
def use(path):
    checkpoint.network_of(checkpoint.read(path), path)
"""
    said = said_of(program, folder)
    assert len(said) == 8
    assert all(sentence.startswith("ConfigError: '") for sentence in said.values()), said
    assert "more than 1,000,000 files" in said["crowded.ckpt"]
    assert "a possible image_size" in said["picture.ckpt"]
    assert "not of the network it describes" in said["huge.ckpt"]
    assert not canary.exists()


def test_weights_are_refused(checkpoints: tuple[Path, Path]) -> None:
    folder, canary = checkpoints
    program = """
from gesture.config.schema import BackboneConfig
from gesture.model.network import GestureNetwork
from gesture.model.weights import load_weights
network = GestureNetwork("shufflenet_v2_x0_5", 10)
def use(path):
    load_weights(network, BackboneConfig("shufflenet_v2_x0_5", str(path), 0, 1.0))
"""
    said = said_of(program, folder)
    assert all(sentence.startswith("ConfigError: ") for sentence in said.values()), said
    assert "weights_only" not in "".join(said.values())  # whose advice would execute them
    assert not canary.exists()


@pytest.mark.parametrize("command", ["resume", "evaluate", "predict"])
def test_a_run_with_code_in_its_checkpoints_is_refused(
    command: str, run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, canary = shutil.copytree(run_dir, tmp_path / "run"), tmp_path / "canary"
    for path in (run / "checkpoints").glob("*.ckpt"):
        torch.save({**torch.load(path, weights_only=True), "evil": Evil(canary)}, path)
    record = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**record, "status": "interrupted"}))
    image = next(rendered.rglob("*.png"))
    calls = {
        "resume": (train.main, [f"resume={run}"]),
        "evaluate": (evaluate.main, [f"run={run}"]),
        "predict": (predict.main, [f"run={run}", f"input={image}"]),
    }
    main, words = calls[command]
    assert call(main, *words) == 2
    assert "checkpoint" in capsys.readouterr().err
    assert not canary.exists()


TARGETS = {
    "settings": "trainer: {_target_: os.system, command: touch CANARY}",
    "callback": "hydra: {callbacks: {x: {_target_: os.system, command: touch CANARY}}}",
    "hidden": "hydra: {callbacks: {x: {_target_: '${x}'}}}\nx: os.system",
    "launcher": "hydra: {launcher: {_target_: subprocess.Popen}}",
    "handler": "hydra: {job_logging: {handlers: {console: {'()': logging.os.system, command: touch CANARY}}}}",
    "its own log": "hydra: {hydra_logging: {handlers: {console: {'()': os.system, command: touch CANARY}}}}",
    "stream": "hydra: {job_logging: {handlers: {console: {class: logging.StreamHandler, stream: ext://evil.x}}}}",
    "tag": "name: !!python/object/apply:os.system [touch CANARY]",
    "nested": f"name: {'[' * 20_000}{']' * 20_000}",
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("multirun", [False, True])
def test_a_configuration_executes_nothing(
    name: str, multirun: bool, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment").mkdir()
    canary = tmp_path / "canary"
    text = TARGETS[name].replace("CANARY", str(canary))
    (tmp_path / "experiment" / "theirs.yaml").write_text(f"# @package _global_\n{text}\n")
    place = ["-m", "seed=1,2", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    place = place if multirun else [f"hydra.run.dir={tmp_path / 'run'}"]
    assert call(train.main, *tiny, *place, f"--config-dir={tmp_path}", "experiment=theirs") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experiment"]


@pytest.mark.parametrize("word", ["+hydra.callbacks.x._target_=os.system", "hydra.sweeper._target_=builtins.exec"])
def test_a_typed_target_is_not_executed(word: str, tiny: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(train.main, *tiny, word) == 2
    assert f"{word.lstrip('+')} is not executed" in capsys.readouterr().err


def test_a_recorded_target_is_not_executed(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, canary = shutil.copytree(run_dir, tmp_path / "run"), tmp_path / "canary"
    config = (run / "config.yaml").read_text()
    lines = ("trainer:\n  _target_: os.system\n", "name: !!python/object/apply:os.system ['touch x']\nname: ")
    for line, begin in zip(lines, ("trainer:\n", "name: "), strict=True):
        (run / "config.yaml").write_text(config.replace(begin, line, 1))
        assert call(evaluate.main, f"run={run}") == 2
        assert "config.yaml' is damaged" in capsys.readouterr().err
    assert not canary.exists()


def test_a_record_that_multiplies_itself_is_refused_in_a_short_sentence() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    for text in ("\n".join([*lines, "seed: *a9"]), f"seed: {'[' * 100_000}", f"seed: {'x' * 10**6}"):
        with pytest.raises(ConfigError, match="is damaged") as refusal:
            from_yaml(text, "config.yaml")
        assert len(str(refusal.value)) < 1000


def png(width: int, height: int, pixels: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


def tiff(*tags: tuple[int, int]) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(400)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files that say or are very large pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    packer = zlib.compressobj(9)
    zeros = b"".join(packer.compress(bytes(2**20)) for _ in range(2**10)) + packer.flush()
    rows = zlib.compress(bytes(33 * 32))
    made = {
        "wide.png": png(50_000, 50_000, zeros),
        "text.png": png(32, 32, rows, (b"zTXt", b"k\0\0" + zeros)),
        "profile.png": png(32, 32, rows, (b"iCCP", b"k\0\0" + zeros)),
        "wide.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 50_000, 50_000, 1, 8, *[0] * 6),
        "wide.ppm": b"P6 50000 50000 255\n" + bytes(100),
        "wide.tif": tiff((256, 50_000), (257, 50_000), (258, 8), (259, 1), (262, 1), (273, 200), (279, 100)),
        "tile.tif": tiff(
            *((256, 32), (257, 32), (258, 8), (259, 5), (262, 1), (277, 1)),
            *((322, 40_000), (323, 40_000), (324, 200), (325, 100)),
        ),
    }
    small = {}
    for kind in ("GIF", "JPEG"):
        Image.new("L", (32, 32)).save(page := io.BytesIO(), kind)
        small[kind] = bytearray(page.getvalue())
    small["GIF"][6:10] = struct.pack("<HH", 65_535, 65_535)
    start = small["JPEG"].index(b"\xff\xc0") + 5
    small["JPEG"][start : start + 4] = struct.pack(">HH", 65_500, 65_500)
    canvas = struct.pack("<I", 2) + struct.pack("<I", 16_382)[:3] * 2
    webp = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    made |= {"wide.gif": bytes(small["GIF"]), "wide.jpg": bytes(small["JPEG"])}
    made["wide.webp"] = b"RIFF" + struct.pack("<I", len(webp)) + webp
    for name, content in made.items():
        (folder / name).write_bytes(content)
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(2**36)
    return folder


def test_pictures_that_fill_the_memory_are_bad_images(pictures: Path) -> None:
    program = """
from gesture.data.pixels import to_pixels
def use(path):
    to_pixels(path, (32, 64), 8)
"""
    said = said_of(program, pictures)
    assert len(said) == 11
    assert all(sentence.startswith(("BadImage: ", "OSError: ")) for sentence in said.values()), said
    assert "68.7 GB, no image" in said["sparse.png"]


def test_pictures_that_fill_the_memory_are_told_by_train_and_predict(
    pictures: Path, run_dir: Path, rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(rendered / "00", tmp_path / "images")
    for path in pictures.iterdir():
        (tmp_path / "images" / "02_l" / path.name).symlink_to(path)
    words = ["data=folder", f"data.root={tmp_path / 'images'}", f"data.cache_dir={tmp_path / 'cache'}"]
    assert call(train.main, *words, f"hydra.run.dir={tmp_path / 'run'}") == 2
    assert "11 images cannot be decoded" in capsys.readouterr().err
    assert call(predict.main, f"run={run_dir}", f"input={pictures}") == 1
    assert "11 of 11 images could not be read" in capsys.readouterr().out


def link_to(target: str) -> zipfile.ZipInfo:
    link = zipfile.ZipInfo(target)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return link


@pytest.mark.parametrize(
    "member", ["a/../../x.png", "/etc/x.png", "C:\\x.png", "\\\\host\\x.png", "..\\x.png", link_to("a/x.png")], ids=str
)
def test_an_archive_whose_members_lead_out_of_it_is_refused(member: str | zipfile.ZipInfo, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/1.png", b"x")
        archive.writestr(member, b"/etc/passwd")
    with pytest.raises(ConfigError, match="has what leads out of it"):
        Archive(tmp_path / "x.zip").paths()


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bomb, one that lies about its size, one that Python would unpack at once, one of too many files."""
    folder = tmp_path_factory.mktemp("archives")

    def fill(name: str, megabytes: int, method: int) -> None:
        with zipfile.ZipFile(folder / name, "w", method) as archive, archive.open("a.png", "w") as file:
            for _ in range(megabytes):
                file.write(bytes(2**20))

    fill("bomb.zip", 1000, zipfile.ZIP_DEFLATED)
    shutil.copy(folder / "bomb.zip", folder / "lies.zip")
    content = (folder / "lies.zip").read_bytes()
    (folder / "lies.zip").write_bytes(content.replace(struct.pack("<I", 1000 * 2**20), struct.pack("<I", 5000)))
    fill("bzip2.zip", 1000, zipfile.ZIP_BZIP2)
    crowded(folder / "crowded.zip")
    return folder


def test_archives_that_fill_the_memory_are_refused(archives: Path) -> None:
    program = """
from gesture.data.files import Archive
def use(path):
    archive = Archive(path)
    [archive.read(name) for name in archive.paths()]
"""
    said = said_of(program, archives)
    assert said["bomb.zip"] == "OSError: a file of 1.0 GB, no image"
    assert said["lies.zip"].startswith("OSError: damaged in the archive")
    assert "compressed by method 12" in said["bzip2.zip"]
    assert "more than 1,000,000 files" in said["crowded.zip"]


RECORDS = {
    "nested": "[" * 100_000,
    "nested within": '{"status": "done", "metrics": ' + '{"a": ' * 100_000,
    "error": '{"status": "failed", "error": 5}',
    "score": '{"status": "done", "score": "x", "seconds": "y"}',
    "metrics": '{"status": "done", "metrics": {"test/loss": "x"}}',
    "device": '{"status": "done", "device": "cpu", "class_names": 5}',
    "large": '{"status": "done"}' + " " * 2**26,
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_is_none_is_damaged_to_whoever_reads_it(
    name: str, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(run_dir, tmp_path / "sweep" / "0")
    (run / "result.json").write_text(RECORDS[name])
    [trial] = collect(tmp_path / "sweep")
    assert trial.status == "damaged"
    for command, word in ((train.main, f"resume={run}"), (evaluate.main, f"run={run}")):
        assert call(command, word) == 2
        assert "result.json' is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[" * 100_000, '{"train": [{}], "val": [[]], "test": [1]}', " " * 2**26 + "{}"])
def test_a_split_that_is_none_is_damaged(text: str, run_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir, tmp_path / "run")
    (tmp_path / "run" / "split.json").write_text(text)
    with pytest.raises(ConfigError, match=r"split.json' is damaged"):
        RunDirectory(tmp_path / "run").read_split()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_a_record_that_never_ends_is_not_read(run_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir, tmp_path / "run")
    for name in ("result.json", "split.json", "config.yaml"):
        (tmp_path / "run" / name).unlink()
        (tmp_path / "run" / name).symlink_to("/dev/zero")
    run = RunDirectory(tmp_path / "run")
    for reading in (run.read_result, run.read_split, run.read_config):
        with pytest.raises(ConfigError, match="no file"):
            reading()


def test_a_folder_that_is_no_cache_is_not_removed_to_make_room(rendered: Path, tmp_path: Path) -> None:
    """`data.cache_dir` may name a folder of somebody's projects."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("index.json", "images.npy", "thesis.tex"):
        (project / name).write_text("{}")
    cache = open_cache(read(rendered), (32, 64), tmp_path)
    cache.use.release()
    prune(tmp_path, 1e-9)
    assert sorted(path.name for path in project.iterdir()) == ["images.npy", "index.json", "thesis.tex"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["project"]
