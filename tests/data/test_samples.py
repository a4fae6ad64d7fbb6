"""Filling the table of samples: LeapGestRecog at any level and from its archive, and anybody's folder."""

import shutil
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from conftest import FRAMES, GESTURES, SHARED, SUBJECTS, images_of, needs_shared
from gesture.config.refusals import ConfigError
from gesture.data.samples import every_nth_frame
from gesture.data.sources import folder, leapgestrecog

IMAGES = SUBJECTS * GESTURES * FRAMES


def doubled(rendered: Path, root: Path) -> Path:
    """Kaggle's tree: the data set, and once more inside a second folder."""
    shutil.copytree(rendered, root / "leapGestRecog")
    shutil.copytree(rendered, root / "leapgestrecog" / "leapGestRecog")
    return root


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.png")):
            file.write(path, path.relative_to(folder).as_posix())
    return archive


def test_the_table_names_people_gestures_and_frames(rendered: Path) -> None:
    samples = leapgestrecog.read(rendered)
    assert len(samples) == IMAGES
    assert samples.subject_names == ("00", "01", "02")
    assert samples.class_names[0] == "01_palm"
    assert samples.class_names[9] == "10_down"
    assert samples.paths[0] == "00/01_palm/frame_00_01_0001.png"
    assert samples.frames[:FRAMES].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("level", ["..", ".", "00"])
def test_any_level_of_the_tree_will_do(rendered: Path, level: str) -> None:
    samples = leapgestrecog.read(rendered / level)
    assert len(samples) == (GESTURES * FRAMES if level == "00" else IMAGES)
    assert len(samples.class_names) == GESTURES


def test_one_gestures_folder_keeps_its_name(rendered: Path) -> None:
    assert leapgestrecog.read(rendered / "00" / "02_l").class_names == ("02_l",)


def test_the_doubled_copy_is_taken_once_and_said(
    rendered: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        samples = leapgestrecog.read(doubled(rendered, tmp_path))
    assert len(samples) == IMAGES
    assert samples.taken_once == IMAGES
    assert samples.paths[0].startswith("leapGestRecog/00/")
    assert f"holds {IMAGES} frames twice" in caplog.text


def test_two_different_images_of_one_name_are_refused(rendered: Path, tmp_path: Path) -> None:
    root = doubled(rendered, tmp_path)
    (root / "leapgestrecog/leapGestRecog/00/01_palm/frame_00_01_0001.png").write_bytes(b"another")
    with pytest.raises(ConfigError, match="are different images of one name"):
        leapgestrecog.read(root)


def test_the_archive_is_read_as_it_is(rendered: Path, tmp_path: Path) -> None:
    archive = zipped(doubled(rendered, tmp_path / "tree"), tmp_path / "archive.zip")
    from_archive = leapgestrecog.read(archive)
    assert len(from_archive) == IMAGES
    assert from_archive.files.read(from_archive.paths[0]) == (rendered / "00/01_palm/frame_00_01_0001.png").read_bytes()
    shutil.rmtree(tmp_path / "tree")
    assert leapgestrecog.read(tmp_path).paths == from_archive.paths  # the folder it lies in


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(b"PK no zip")
    with pytest.raises(ConfigError, match="is no readable zip archive"):
        leapgestrecog.read(tmp_path / "archive.zip")


def test_missing_data_name_every_way_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("no images")
    with pytest.raises(ConfigError) as refusal:
        leapgestrecog.read(tmp_path)
    for words in ("found 1 file.", "data.download=true", "archive.zip", "data=synthetic"):
        assert words in str(refusal.value)


def test_missing_data_are_downloaded_when_asked_with_a_stand_in_for_kaggle(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dataset_download(handle: str, output_dir: str) -> str:
        assert handle == "gti-upm/leapgestrecog"
        doubled(rendered, Path(output_dir))
        return output_dir

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=dataset_download))
    root = tmp_path / "leap"
    assert len(leapgestrecog.load(images_of("leapgestrecog", root, download=True))) == IMAGES
    assert len(leapgestrecog.read(root)) == IMAGES  # and is there from now on


def test_a_failed_download_says_so_with_a_stand_in_for_kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dataset_download(handle: str, output_dir: str) -> str:
        raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=dataset_download))
    with pytest.raises(ConfigError, match=r"could not be fetched \(no network\)"):
        leapgestrecog.load(images_of("leapgestrecog", tmp_path / "leap", download=True))


def test_a_download_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(ConfigError, match="needs the extra 'data'"):
        leapgestrecog.load(images_of("leapgestrecog", tmp_path / "leap", download=True))


def test_a_stride_takes_every_nth_frame_of_each_sequence(rendered: Path) -> None:
    samples = every_nth_frame(leapgestrecog.read(rendered), 2)
    assert len(samples) == SUBJECTS * GESTURES * 3
    assert set(samples.frames.tolist()) == {1, 3, 5}


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_a_folder_of_gestures_needs_nothing_else(tmp_path: Path) -> None:
    for name in ("10/b.JPG", "2/deep/a.png", "2/notes.txt", "2/c.webp", "10/d.bmp", "2/e.jpeg"):
        picture(tmp_path / name)
    samples = folder.load(images_of("folder", tmp_path))
    assert samples.class_names == ("2", "10")  # by value
    assert not samples.knows_subjects
    assert len(samples) == 5


def test_a_pattern_gives_subjects_and_frames_from_names_or_folders(tmp_path: Path) -> None:
    for name in ("ann/fist/take_7.png", "bob/fist/take_12.png", "bob/palm/take_3.png"):
        picture(tmp_path / name)
    samples = folder.load(
        images_of("folder", tmp_path, pattern=r"(?P<subject>\w+)/(?P<gesture>\w+)/take_(?P<frame>\d+)")
    )
    assert samples.subject_names == ("ann", "bob")
    assert samples.class_names == ("fist", "palm")
    assert samples.frames.tolist() == [7, 12, 3]


@pytest.mark.parametrize(
    ("names", "pattern", "words"),
    [
        ([], None, "holds no images"),
        (["a.png"], None, "lies in no gesture's folder"),
        (["a/1.png"], "(", "is no regular expression"),
        (["a/1.png"], "x", "names nothing"),
        (["a/1.png"], "(?P<person>.)", "unknown groups"),
        (["a/1.png", "a/x.png"], r"(?P<frame>\d)", "does not fit 'a/x.png'"),
        (["a/1.png"], r"(?P<frame>\w)", "must match digits"),
    ],
)
def test_folders_and_patterns_that_do_not_fit_are_refused(
    names: list[str], pattern: str | None, words: str, tmp_path: Path
) -> None:
    for name in names:
        picture(tmp_path / name)
    with pytest.raises(ConfigError) as refusal:
        folder.load(images_of("folder", tmp_path, pattern=pattern))
    assert words in str(refusal.value)


@needs_shared
def test_the_real_data_sets_are_read() -> None:
    frames = leapgestrecog.read(SHARED / "leapgestrecog")
    assert len(frames) == len(list((SHARED / "leapgestrecog").rglob("*.png"))) > 1000
    assert frames.subject_names == ("00", "01", "02", "03")
    digits = folder.load(images_of("folder", SHARED / "sign-language-digits", pattern=r"(?P<subject>s\d+)_"))
    assert len(digits) == 2062
    assert len(digits.subject_names) == 217
    assert np.unique(digits.gestures).size == 10
