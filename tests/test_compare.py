"""gesture compare, on a sweep that was trained and on run directories written for it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.words import last_wins
from PIL import Image

from conftest import SUBJECTS, call
from gesture import compare
from gesture.config.words import with_places
from made_runs import made_run


@pytest.fixture(scope="module")
def sweep(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of three people left out in turn by two recipes, and the random split of both."""
    folder = tmp_path_factory.mktemp("logs")
    recipes = "augment=none,light"
    leaving_out = ["experiment=loso", f"split.folds={SUBJECTS}", recipes, "hydra.sweep.dir=loso"]
    drawn = ["experiment=fast", "split=random", recipes, "hydra.sweep.dir=random"]
    for words in (leaving_out, drawn):
        command = [sys.executable, "-m", "gesture.train", "-m", *last_wins([*tiny, *words])]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def compared(folder: Path, *words: str) -> dict[str, object]:
    assert call(compare.main, *words, f"hydra.run.dir={folder}") == 0
    record: dict[str, object] = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    return record


def test_leaving_each_person_out_becomes_one_answer(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = compared(tmp_path, str(sweep / "loso"), str(sweep / "random"))
    assert len(list((sweep / "loso").glob("*/result.json"))) == 2 * SUBJECTS
    assert record["people"] == ["00", "01", "02"]
    settings = record["settings"]
    assert isinstance(settings, list)
    assert {setting["label"] for setting in settings} == {"augment=none", "augment=light"}
    for setting in settings:
        assert setting["runs"] == SUBJECTS
        assert setting["gap"] == pytest.approx(setting["random_split"] - setting["interval"]["mean"])
        assert setting["interval"]["mean"] == pytest.approx(np.mean(list(setting["per_person"].values())))
    shown = capsys.readouterr().out
    assert "8 runs, score: val/accuracy" in shown
    assert "not distinguishable: three people cannot tell, whatever they score" in shown
    assert "no interval." in shown
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"people.png", "curves.png"}
    assert np.asarray(Image.open(tmp_path / "plots" / "people.png")).std() > 0


def test_a_person_s_score_is_result_json_s_where_every_gesture_has_as_many_images(sweep: Path, tmp_path: Path) -> None:
    settings = compared(tmp_path, f"runs={sweep}/loso")["settings"]
    assert isinstance(settings, list)
    per_person = {setting["label"]: setting["per_person"] for setting in settings}
    for path in (sweep / "loso").glob("*/result.json"):
        [(person, measured)] = json.loads(path.read_text())["per_subject"].items()
        label = "augment=light" if "light" in path.parent.name else "augment=none"
        assert per_person[label][person] == pytest.approx(measured["accuracy"])


def test_unfinished_and_failed_runs_are_shown_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_run(tmp_path / "logs" / "0", {"00": 0.5}, "split=subject")
    made_run(tmp_path / "logs" / "1", {}, "seed=1", status="failed", score=None)
    record = compared(tmp_path / "out", f"{tmp_path}/logs/*")
    assert "failed" in capsys.readouterr().out
    with (tmp_path / "out" / "comparison.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["done", "failed"]
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert rows[1]["error"] == "RuntimeError: no memory"
    assert [run["score"] for run in record["runs"]] == [0.5, None]  # type: ignore[attr-defined]


def test_runs_alone_make_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs" / "0").mkdir(parents=True)
    (tmp_path / "logs" / "0" / "result.json").write_text('{"status": "refused", "error": "nobody is called 77"}')
    record = compared(tmp_path / "out", str(tmp_path / "logs"))
    assert (record["settings"], record["curves"]) == ([], {})
    assert list((tmp_path / "out" / "plots").iterdir()) == []
    assert "No run tests people whom it was not trained on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "'nowhere' holds no run: give run directories, sweeps' directories or a pattern."),
        (["no/such/**x"], "holds no run"),
        ([], "runs is not set: give runs=..."),
        (["nowhere", "runs=[elsewhere]"], "runs is given twice"),
        (["runs=nowhere"], "'nowhere' holds no run"),
        (["runs="], "'' holds no run"),
        (["runs=[]"], "runs=[] names no run"),
        (["level=1.5", "nowhere"], "level=1.5 is out of range"),
        (["-m", "nowhere"], "compare takes no -m"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line_and_leaves_nothing(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(compare.main, *words) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_word_that_is_no_setting_is_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.1").mkdir()
    assert with_places(["a b,c", "lr=0.1", "level=0.9"], "runs") == ["level=0.9", "runs=['a b,c','lr=0.1']"]
    assert with_places(["level=0.9"], "runs") == ["level=0.9"]
    assert with_places(["runs=logs/a,b*", "c"], "runs") == ["runs=['logs/a,b*','c']"]
    assert with_places(["runs=[a,b]"], "runs") == ["runs=[a,b]"]


def test_a_place_may_be_called_anything(tmp_path: Path) -> None:
    odd = tmp_path / "it's a [run], x=1"
    made_run(odd / "0", {"00": 0.5}, "split=subject")
    record = compared(tmp_path / "out", str(odd))
    assert [run["path"] for run in record["runs"]] == [str(odd / "0")]  # type: ignore[attr-defined]


def test_comparing_loads_no_torch(tmp_path: Path) -> None:
    made_run(tmp_path / "0", {"00": 0.5, "01": 0.75}, "split=subject")
    code = (
        "import sys; from gesture import compare\n"
        f"sys.argv = ['compare', {str(tmp_path / '0')!r}, 'hydra.run.dir={tmp_path}/out']\n"
        "compare.main(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("False\n"), done.stdout + done.stderr
