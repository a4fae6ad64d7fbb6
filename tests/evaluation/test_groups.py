"""Groups of people, read from a file and set beside each other."""

from pathlib import Path

import pytest

from gesture.config.refusals import ConfigError
from gesture.evaluation.groups import by_group, read_groups

SCORES = {"ann": 0.9, "bob": 0.5, "cid": 0.7, "dot": 1.0}


def test_people_count_alike_in_their_group() -> None:
    found = by_group(SCORES, {"ann": "bare", "bob": "sleeve", "cid": "sleeve", "eve": "bare"})
    assert found["groups"] == {
        "bare": {"people": ["ann"], "score": 0.9},
        "sleeve": {"people": ["bob", "cid"], "score": pytest.approx(0.6)},
    }
    assert found["worst"] == {"group": "sleeve", "score": pytest.approx(0.6)}
    assert found["gap"] == pytest.approx(0.3)
    assert found["without_group"] == ["dot"]


def test_a_table_of_people_is_read_whatever_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_bytes('﻿subject,age,group\r\nann,30,bare \r\nbob,31,"a, b"\r\n'.encode())
    assert read_groups(path) == {"ann": "bare", "bob": "a, b"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("person,group\nann,bare\n", "has a row without subject or group"),
        ("subject,group\nann,\n", "has a row without subject or group"),
        ("subject,group\n", "has no rows"),
        ("subject,group\nann,x\nann,y\n", "puts 'ann' into two groups"),
        ("subject,group\n\udcff,x\n", "cannot be read (it is no text)"),
    ],
)
def test_a_table_that_tells_nothing_is_refused(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError) as refusal:
        read_groups(path)
    assert sentence in str(refusal.value)


def test_a_table_that_is_not_there_or_names_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_groups(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="names none of the people who are evaluated"):
        by_group(SCORES, {"eve": "bare"})
