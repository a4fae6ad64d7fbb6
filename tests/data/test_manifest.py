"""A list of files and their sums in place of the files."""

import hashlib
from pathlib import Path

import pytest

from conftest import SHARED, call, images_of, needs_shared
from gesture import audit
from gesture.config.compose import compose
from gesture.config.refusals import ConfigError
from gesture.data.manifest import Manifest
from gesture.data.prepare import prepare, prepare_listed
from gesture.runs.files import read_json


def manifest_of(root: Path, path: Path) -> Path:
    files = sorted(root.rglob("*.png"))
    sums = [
        f"{file.relative_to(root).as_posix()},{file.stat().st_size},{hashlib.sha256(file.read_bytes()).hexdigest()}"
        for file in files
    ]
    path.write_text("\n".join(["path,bytes,sha256", *sums, ""]))
    return path


def test_a_manifest_tells_what_the_files_tell(rendered: Path, tmp_path: Path) -> None:
    config = images_of("leapgestrecog", rendered, cache_dir=str(tmp_path / "cache"), image_size=[32, 64])
    split = compose("train", ["split.keeps_copies_together=false"]).split
    read, listed = prepare(config, split), prepare_listed(config, split, manifest_of(rendered, tmp_path / "m.csv"))
    assert listed.samples.paths == read.samples.paths
    assert (listed.fingerprint, listed.describe()) == (read.fingerprint, read.describe())
    assert listed.split.test.tolist() == read.split.test.tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "is none: expected a first line path,bytes,sha256"),
        ("path,bytes,sha256\na.png,many,00\n", "is none: expected"),
        ("path,bytes,sha256\na.png,1,00\n", "is none: expected"),
        (f"path,bytes,sha256\na.png,1,{'0' * 64}\na.png,1,{'0' * 64}\n", "lists 1 of its files twice"),
        ("", "is none: expected"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        Manifest(path).paths()


def test_a_manifest_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Manifest(tmp_path / "m.csv").paths()


@needs_shared
def test_leapgestrecogs_manifest_holds_the_figures_that_are_known_of_it(tmp_path: Path) -> None:
    words = [f"audit.manifest={SHARED / 'leapgestrecog-manifest.csv'}", "split.keeps_copies_together=false"]
    assert call(audit.main, *words, f"hydra.run.dir={tmp_path}") == 0
    found = read_json(tmp_path / "audit.json")
    same = found["identical"]
    assert (found["dataset"]["images"], len(same["groups"]), same["images"]) == (20_000, 388, 780)
    assert same["between_subjects"] == {"02, 05": 142}
    assert sum(same["between_sides"].values()) == same["across_sides"] > 100
    assert found["gaps"] == []
    assert found["near"] is None
