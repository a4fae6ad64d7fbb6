"""predictions.csv: written whole, read back as it was, whatever its gestures are called."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture.config.refusals import ConfigError, Diverged
from gesture.data.files import Folder
from gesture.data.samples import Row, table
from gesture.runs.predictions import Predictions, of_samples, read, write

NAMES = ("path", "subject", "gesture", "$^$", 'a,"b"\n', os.fsdecode(b"caf\xe9"))


def predictions(seed: int = 0) -> Predictions:
    rows = [Row(f"{name}/{i}.png", f"s{i % 2}", name, i) for name in NAMES for i in range(4)]
    samples = table("test", Folder(Path()), rows)
    values = np.random.default_rng(seed).dirichlet(np.ones(len(NAMES)), len(samples)).astype(np.float32)
    rows_of = {"val": np.arange(0, len(samples), 2), "test": np.arange(1, len(samples), 2)}
    return of_samples(samples, {part: (rows, values[rows]) for part, rows in rows_of.items()})


def test_what_is_written_is_read_to_the_last_digit(tmp_path: Path) -> None:
    written = predictions()
    write(tmp_path / "predictions.csv", written)
    again = read(tmp_path / "predictions.csv")
    assert (again.class_names, again.splits, again.paths) == (written.class_names, written.splits, written.paths)
    assert again.subjects == written.subjects
    assert np.array_equal(again.targets, written.targets)
    assert np.array_equal(again.frames, written.frames)
    assert np.array_equal(again.probabilities, written.probabilities)


@given(st.floats(0, 1, width=32))
def test_every_float32_survives_its_digits(value: float) -> None:
    assert np.float32(str(np.array([value], dtype=np.float32).astype(str)[0])) == np.float32(value)


def test_columns_do_not_collide_with_gestures(tmp_path: Path) -> None:
    write(tmp_path / "predictions.csv", predictions())
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["path"].endswith(".png")
    assert 0 <= float(rows[0]["p:path"]) <= 1
    assert len(rows[0]) == 6 + len(NAMES)


def test_a_table_of_version_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("split,path,subject,gesture,fist,palm\nval,a.png,s1,palm,0.25,0.75\ntest,b.png,,fist,1,0\n")
    old = read(path)
    assert (old.class_names, old.splits, old.subjects) == (("fist", "palm"), ("val", "test"), ("s1", ""))
    assert old.targets.tolist() == [1, 0]
    assert old.probabilities.tolist() == [[0.25, 0.75], [1, 0]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "split,path,subject,gesture,frame,view,p:x\nval,a.png,,x,1,\n",
        "split,path,subject,gesture,x\nval,a,,y,1\n",
        "split,path,subject,gesture,frame,view,p:x\nval,a.png,,x,1,,0.2",
        "split,path,subject,gesture,frame,view,p:x\nval,a.png,,x,1,,nan\n",
    ],
)
def test_a_damaged_table_is_named_in_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"predictions\.csv' is damaged"):
        read(tmp_path / "predictions.csv")


def test_answers_that_are_no_numbers_are_no_table() -> None:
    rows = [Row(f"g{i}/0.png", None, f"g{i}", 0) for i in range(2)]
    samples = table("test", Folder(Path()), rows)
    with pytest.raises(Diverged, match=r"lower optimizer\.lr"):
        of_samples(samples, {"test": (np.arange(2), np.full((2, 2), np.nan, dtype=np.float32))})
