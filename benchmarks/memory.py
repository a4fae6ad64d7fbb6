"""Memory a run takes beyond what its network takes alone, on Linux.

    python -m benchmarks.memory                              # 20,000 images at 224 px, one epoch; minutes
    python -m benchmarks.memory data.frames=8

The kernel counts what a process holds: anonymous memory (resident) and pages of files, of which decoded images are the
most (mapped; the system takes them back when it needs them). On a GPU, its own peak besides.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Measured, report

DEFAULTS = ["data=synthetic", "data.frames=200", "data.batch_size=32", "trainer.max_epochs=1"]
STEPS_ALONE = 5
POLL_S = 0.2
GB = 1e9


def peaks(command: Sequence[str]) -> dict[str, float]:
    """GB at the most, while a command runs."""
    most = {"RssAnon": 0, "RssFile": 0}
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(POLL_S)
        status = Path(f"/proc/{process.pid}/status")
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
        for name in most.keys() & lines.keys():
            most[name] = max(most[name], int(lines[name].split()[0]) * 1024)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return {"resident": most["RssAnon"] / GB, "mapped": most["RssFile"] / GB}


def alone(words: list[str]) -> None:
    """A few steps of the network over one batch, and nothing else but the same libraries."""
    from itertools import islice

    import lightning.pytorch  # noqa: F401
    import numpy as np

    from benchmarks.arms import ceiling, configured
    from gesture.data.files import Folder
    from gesture.data.prepare import Data
    from gesture.data.samples import Row, table
    from gesture.data.splits import Split

    config = configured(words)
    size = config.data.batch_size
    samples = table("alone", Folder(Path()), [Row(f"{i}.png", None, f"gesture {i % 10}", i) for i in range(size)])
    rows = np.arange(size)
    images = np.random.default_rng(0).integers(0, 256, (size, *config.data.image_size), dtype=np.uint8)
    data = Data(samples, images, rows, Split(rows, rows, rows, rows[:0]), {}, "")
    for _ in islice(ceiling(config, data), STEPS_ALONE):
        pass


def main(words: list[str]) -> None:
    words = [*DEFAULTS, *words]
    with tempfile.TemporaryDirectory() as folder:
        whole = peaks(["-m", "gesture.train", *words, f"hydra.run.dir={folder}/run"])
    network = peaks(["-m", "benchmarks.memory", "alone", *words])
    rows = {f"run, {name}, GB": Measured((value,)) for name, value in whole.items()}
    rows |= {f"network alone, {name}, GB": Measured((value,)) for name, value in network.items()}
    rows |= {f"beyond it, {name}, GB": Measured((whole[name] - network[name],)) for name in whole}
    report("memory", rows, {"overrides": words})


if __name__ == "__main__":
    alone(sys.argv[2:]) if sys.argv[1:2] == ["alone"] else main(sys.argv[1:])
