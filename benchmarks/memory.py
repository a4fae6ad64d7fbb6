"""Memory a run takes beyond what its network takes alone, and what the other ways take, on Linux.

    python -m benchmarks.memory                              # 20,000 images at 224 px, one epoch; minutes
    python -m benchmarks.memory data.frames=8

The kernel counts what a process holds: anonymous memory (resident) and pages of files, of which decoded images are the
most (mapped; the system takes them back when it needs them). benchmarks.training tells of a GPU's own memory.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.arms import ceiling, configured
from benchmarks.measure import Measured, report
from benchmarks.training import WAYS, way
from gesture.config.schema import TrainConfig
from gesture.data.dealing import Split
from gesture.data.files import Folder
from gesture.data.prepare import Data, prepare
from gesture.data.samples import Row, table

DEFAULTS = ["data=synthetic", "data.frames=200", "data.batch_size=32", "trainer.max_epochs=1"]
STEPS_ALONE = 5
FEW = "data.frames=4"
"""Images enough for ways that read each batch's files anew."""
POLL_S = 0.2
GB = 1e9


def peaks(command: Sequence[str]) -> dict[str, float]:
    """GB at the most, while a command and its worker processes run."""
    resident = mapped = 0
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(POLL_S)
        held = [_held(pid) for pid in _family(process.pid)]
        resident = max(resident, sum(anonymous for anonymous, _ in held))
        mapped = max(mapped, max((file for _, file in held), default=0))  # the family maps the same files
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return {"resident": resident / GB, "mapped": mapped / GB}


def _family(pid: int) -> list[int]:
    """A process and its children; none once it has ended."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(int(child) for child in children)]


def _held(pid: int) -> tuple[int, int]:
    """Bytes of anonymous memory and of pages of files."""
    try:
        status = Path(f"/proc/{pid}/status").read_text() + Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0, 0
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    # Workers share pages with their parent: each process counts its part of them.
    anonymous, file = (int(lines.get(name, "0").split()[0]) * 1024 for name in ("Pss_Anon", "RssFile"))
    return anonymous, file


def alone(config: TrainConfig) -> None:
    """A few steps of the network over one batch, and nothing else but the same libraries."""
    size = config.data.batch_size
    samples = table("alone", Folder(Path()), [Row(f"{i}.png", None, f"gesture {i % 10}", i) for i in range(size)])
    rows = np.arange(size)
    images = np.random.default_rng(0).integers(0, 256, (size, *config.data.image_size), dtype=np.uint8)
    data = Data(samples, images, rows, Split(rows, rows, rows, rows[:0]), {}, "")
    for _ in islice(ceiling(config, data), STEPS_ALONE):
        pass


def main(words: list[str]) -> None:
    words = [*DEFAULTS, *words]
    for further in ([], [FEW]):  # rendering and decoding are no part of it
        config = configured([*words, *further])
        prepare(config.data, config.split)
    with tempfile.TemporaryDirectory() as folder:
        whole = peaks(["-m", "gesture.train", *words, f"hydra.run.dir={folder}/run"])
    network = peaks(["-m", "benchmarks.memory", "alone", *words])
    rows = {f"run, {name}, GB": Measured((value,)) for name, value in whole.items()}
    rows |= {f"network alone, {name}, GB": Measured((value,)) for name, value in network.items()}
    rows |= {f"beyond it, {name}, GB": Measured((whole[name] - network[name],)) for name in whole}
    for arm in ("plain", "folders"):
        held = peaks(["-m", "benchmarks.memory", arm, *words, FEW])
        rows[f"{WAYS[arm]}, resident, GB"] = Measured((held["resident"],))
    report("memory", rows, {"overrides": words})


if __name__ == "__main__":
    kind, *rest = sys.argv[1:] or [""]
    if kind == "alone":
        alone(configured(rest))
    elif kind in WAYS:
        way(kind, configured(rest))
    else:
        main(sys.argv[1:])
