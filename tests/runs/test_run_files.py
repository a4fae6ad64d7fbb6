"""How the files of a run are written: whole, and whatever the names in them."""

import json
import os
from pathlib import Path

import pytest

from gesture.config.refusals import ConfigError
from gesture.runs.files import read_json, read_text, to_json, write_atomically

NOT_UTF_8 = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("text", ["", "a\nb\r\n", "拳头", NOT_UTF_8])
def test_a_text_is_read_as_it_was_written(text: str, tmp_path: Path) -> None:
    write_atomically(tmp_path / "overrides", text)
    assert read_text(tmp_path / "overrides") == text.replace("\r\n", "\n")
    assert os.listdir(tmp_path) == ["overrides"]  # noqa: PTH208


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["result.json"]


def test_json_has_a_setting_a_line_and_keeps_every_value() -> None:
    value = {"names": ["a", NOT_UTF_8], "nested": {"x": [1.5, None], "y": {}}, "rows": [[1, 2], [3, 4]], "nan": [1e999]}
    text = to_json(value)
    assert json.loads(text) == {**value, "nan": [None]}
    assert "  [1, 2],\n  [3, 4]\n" in text


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "split.json").mkdir()
    with pytest.raises(ConfigError, match=r"split\.json' cannot be read \(Is a directory\)"):
        read_json(tmp_path / "split.json")
