"""Finding files: each once, links without loops, litter left out and counted, archives that cannot be read refused."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gesture.config.refusals import ConfigError
from gesture.data.files import Archive, Folder, find_images, images_among, in_words, without_litter


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def test_a_link_back_up_the_tree_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = touch(tmp_path, "fist/1.png", "palm/2.png")
    for gesture in ("fist", "palm"):
        (root / gesture / "up").symlink_to("..")
    with caplog.at_level("INFO"):
        assert Folder(root).paths() == ["fist/1.png", "palm/2.png"]
    assert "not followed: 2 links to what is taken already" in caplog.text


def test_a_file_that_a_link_shows_again_is_taken_once_under_its_own_name(tmp_path: Path) -> None:
    root = touch(tmp_path, "palm/1.png", "palm/deep/2.png")
    (root / "a").symlink_to(root / "palm")
    (root / "b").mkdir()
    (root / "b" / "again.png").symlink_to("../palm/1.png")
    assert Folder(root).paths() == ["palm/1.png", "palm/deep/2.png"]


def test_links_to_what_lies_elsewhere_are_followed_also_from_there(tmp_path: Path) -> None:
    touch(tmp_path / "store", "fist/1.png", "3.png")
    touch(tmp_path / "further", "2.png")
    (tmp_path / "store" / "fist" / "more").symlink_to(tmp_path / "further")
    (tmp_path / "root" / "palm").mkdir(parents=True)
    (tmp_path / "root" / "fist").symlink_to(tmp_path / "store" / "fist")
    (tmp_path / "root" / "palm" / "3.png").symlink_to(tmp_path / "store" / "3.png")
    assert Folder(tmp_path / "root").paths() == ["fist/1.png", "fist/more/2.png", "palm/3.png"]


def test_links_into_a_hidden_store_are_followed(tmp_path: Path) -> None:
    root = touch(tmp_path, ".store/0a1b", "palm/1.png")
    (root / "palm" / "2.png").symlink_to("../.store/0a1b")
    assert without_litter(Folder(root)) == ["palm/1.png", "palm/2.png"]


def test_a_link_to_nothing_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to("/nowhere/x.png")
    assert Folder(tmp_path).paths() == ["x.png"]
    with pytest.raises(FileNotFoundError):
        Folder(tmp_path).read("x.png")


LITTER = [
    ".ipynb_checkpoints/1.png",
    "__MACOSX/palm/._1.png",
    ".Trashes/2.png",
    "palm/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
    "palm/._1.png",
    "palm/Thumbs.db",
    ".DS_Store",
]


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_what_systems_leave_in_folders_is_left_out_and_counted(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = touch(tmp_path / "root", "palm/1.png", *LITTER)
    if kind == "archive":
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for path in root.rglob("*"):
                archive.write(path, path.relative_to(root))
    with caplog.at_level("INFO"):
        assert without_litter(Folder(root) if kind == "folder" else Archive(tmp_path / "x.zip")) == ["palm/1.png"]
    assert "left out: 7 files of hidden or system folders (" in caplog.text


def test_files_that_are_no_images_by_their_names_are_counted_by_kind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert images_among(["a/1.TIF", "a/2.heic", "b/3.heic", "LICENSE"], tmp_path) == ["a/1.TIF"]
    assert "left out: 3 files with no image's name (.heic 2, no suffix 1)" in caplog.text


def archive(path: Path, change: Callable[[bytearray, int], None] | None = None) -> Path:
    """A zip archive whose members' two headers are changed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("fist/1.png", "palm/2.png"):
            file.writestr(name, name * 100)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # of the flags; the method of compression follows
        start = content.find(signature)
        while change and start >= 0:
            change(content, start + offset)
            start = content.find(signature, start + 4)
    path.write_bytes(content)
    return path


def encrypt(content: bytearray, flags: int) -> None:
    content[flags] |= 1


def deflate64(content: bytearray, flags: int) -> None:
    content[flags + 2 : flags + 4] = struct.pack("<H", 9)


@pytest.mark.parametrize(("change", "words"), [(encrypt, "is encrypted"), (deflate64, "compressed by Deflate64")])
def test_archives_that_python_cannot_read_are_refused_in_a_sentence(
    change: Callable[[bytearray, int], None], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        Archive(archive(tmp_path / "x.zip", change)).paths()


def test_a_damaged_member_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip")
    content = bytearray(path.read_bytes())
    content[30 + len("fist/1.png") + 3] ^= 0xFF
    path.write_bytes(content)
    assert Archive(path).paths() == ["fist/1.png", "palm/2.png"]
    with pytest.raises(OSError, match="damaged in the archive"):
        Archive(path).read("fist/1.png")
    assert Archive(path).read("palm/2.png")[:10] == b"palm/2.png"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.bmp")
    assert find_images(tmp_path) == [tmp_path / "x.bmp"]
    with pytest.raises(OSError, match="a pipe or a device"):
        Folder(tmp_path).read("x.bmp")


def test_prediction_finds_the_images_that_training_finds(tmp_path: Path) -> None:
    touch(tmp_path / "base" / "fist", "1.png")
    root = touch(tmp_path / "linked", "palm/2.tif", ".cache/3.png", "notes.txt")
    (root / "fist").symlink_to(tmp_path / "base" / "fist")
    assert find_images(root) == [root / "fist/1.png", root / "palm/2.tif"]
    assert find_images(root / "notes.txt") == [root / "notes.txt"]  # named, so tried


@pytest.mark.parametrize(("name", "words"), [("nowhere", "does not exist"), (".", "holds no images")])
def test_where_no_image_is_prediction_says_so(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        find_images(tmp_path / name)


def test_sizes_are_said_in_units_that_fit() -> None:
    assert [in_words(size) for size in (100, 12_800, 3_400_000, 20e9)] == ["100 bytes", "13 kB", "3 MB", "20.0 GB"]
