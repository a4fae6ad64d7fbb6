"""Minutes of a whole leave-one-subject-out comparison: ten runs of one sweep, from the command to its end.

python -m benchmarks.folds                     # ResNet-18, 20 epochs, 224 px, batch 256: for a GPU
python -m benchmarks.folds data.frames=8 data.image_size=[48,128] trainer.max_epochs=2
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.arms import configured
from benchmarks.measure import Measured, report
from gesture.data.prepare import prepare

FOLDS = 10
DEFAULTS = ["data=synthetic", "data.frames=200", "data.batch_size=256", "optimizer.lr=1e-3", "scheduler=onecycle"]
SWEEP = ["split=fold", f"split.folds={FOLDS}", f"split.fold={','.join(str(fold) for fold in range(FOLDS))}"]


def main(words: list[str]) -> None:
    words = [*DEFAULTS, *words]
    config = configured(words)
    prepare(config.data, config.split)  # rendering and decoding are no part of it
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "gesture.train", "-m", *words, *SWEEP, f"hydra.sweep.dir={folder}"], check=True
        )
        minutes = (time.perf_counter() - started) / 60
        results = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*/result.json"))]
    rows = {
        "minutes, all folds": Measured((minutes,)),
        "seconds a fold": Measured(tuple(result["seconds"] for result in results)),
        "images/s of training": Measured(tuple(result["images_per_second"] for result in results)),
        "test accuracy": Measured(tuple(result["metrics"]["test/accuracy"] for result in results)),
    }
    report("folds", rows, {"overrides": [*words, *SWEEP]})


if __name__ == "__main__":
    main(sys.argv[1:])
