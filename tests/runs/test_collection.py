"""Many runs read from their directories."""

import json
from pathlib import Path

from gesture.runs.collection import collect
from gesture.runs.result import this_process


def test_trials_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number, status in ((10, "done"), (2, "refused"), (1, "failed")):
        folder = tmp_path / f"{number}-lr-0.1"
        folder.mkdir()
        error = "Traceback\nRuntimeError: no memory\n" if status == "failed" else None
        record = {"status": status, "score": 0.5, "monitor": "val/accuracy", "seconds": 2.5, "error": error}
        (folder / "result.json").write_text(json.dumps(record))
        (folder / "overrides").write_text("optimizer.lr=0.1\nseed=1\n")
    trials = collect(tmp_path)
    assert [trial.path.name for trial in trials] == ["1-lr-0.1", "2-lr-0.1", "10-lr-0.1"]
    assert [trial.status for trial in trials] == ["failed", "refused", "done"]
    assert trials[0].error == "RuntimeError: no memory"
    assert trials[2].overrides == ["optimizer.lr=0.1", "seed=1"]


def test_a_refusal_before_the_claim_has_no_score(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "result.json").write_text('{"status": "refused", "error": "nobody is called 77"}')
    [trial] = collect(tmp_path)
    assert (trial.status, trial.score, trial.monitor, trial.seconds) == ("refused", None, None, 0.0)


def test_trials_that_died_or_whose_record_is_damaged_are_said_to_be(tmp_path: Path) -> None:
    ended = {"status": "running", "process": {**this_process(), "began": -1}}
    for name, text in (("0", ""), ("1", json.dumps(ended))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(text)
    damaged, died = collect(tmp_path)
    assert damaged.status == "damaged"
    assert "result.json' is damaged" in str(damaged.error)
    assert died.status == "died"
    assert damaged.overrides == died.overrides == []
