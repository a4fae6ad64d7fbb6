"""Two processes, as torchrun starts them: one record, and figures over all images, each counted once."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def test_two_processes_make_one_run(tiny: list[str], tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29571"]
    words = ["-m", "gesture.train", *tiny, "trainer.devices=2", "trainer.strategy=ddp", "data.batch_size=7"]
    done = subprocess.run([*launcher, *words], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "logs").rglob("result.json")
    result = json.loads(path.read_text())
    assert result["status"] == "done"
    assert np.sum(result["confusion_matrix"]) == result["split_sizes"]["test"]
    rows = list(csv.DictReader((path.parent / "predictions.csv").open()))
    assert (
        len(rows) == len({row["path"] for row in rows}) == result["split_sizes"]["val"] + result["split_sizes"]["test"]
    )
    names = result["class_names"]
    tested = [row for row in rows if row["split"] == "test"]
    hits = [row["gesture"] == names[np.argmax([float(row[name]) for name in names])] for row in tested]
    assert np.mean(hits) == pytest.approx(result["metrics"]["test/accuracy"])
