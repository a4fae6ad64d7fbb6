"""Where results go: what may be an output, and how it is written to."""

import os
import stat
import threading
from pathlib import Path

import pytest

from gesture.config.refusals import ConfigError
from gesture.runs.output import judged

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


def put(named: str, text: str) -> None:
    with judged(named) as output:
        assert output is not None
        output.check([])
        output.write(text)


def test_without_an_output_there_is_none() -> None:
    with judged(None) as output:
        assert output is None


def test_a_file_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    named = tmp_path / "new" / "x.json"
    for text in ("one\n", "other\n"):
        put(str(named), text)
        assert named.read_text() == text
    assert [path.name for path in named.parent.iterdir()] == ["x.json"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.json").symlink_to("there/x.json")
    put(str(tmp_path / "link.json"), "text")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "there" / "x.json").read_text() == "text"


@pytest.mark.parametrize("named", [".", "..", "/", "{here}", "{here}/", "{here}/new/", "~"])
def test_a_folder_is_refused(named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^output='.*' is a folder, no file: give another output"):
        put(named.format(here=tmp_path), "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named", ["{here}/file/x.json", "/proc/x/y.json", "{here}/" + 300 * "x"])
def test_what_cannot_be_made_is_refused_with_its_setting(named: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^output.*cannot be written to"):
        put(named.format(here=tmp_path), "text")


@needs_pipes
def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    put(str(pipe), "text")
    reader.join(timeout=10)
    assert read == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_is_written_into_and_a_disk_is_not(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(tmp_path / "disk", 0o666 | stat.S_IFBLK, os.makedev(7, 250))
        (tmp_path / "null").open("w").close()
    except (AttributeError, OSError):
        pytest.skip("making devices needs root")
    put(str(tmp_path / "null"), "text")
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    with pytest.raises(ConfigError, match="is neither a file nor a pipe"):
        put(str(tmp_path / "disk"), "text")


def test_standard_output_is_printed_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    put("-", "näme \udcff\n")
    assert capsys.readouterr().out == "näme \\udcff\n"
