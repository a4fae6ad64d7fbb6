"""Seconds and memory of an audit of 20,000 images after decoding, and of the leak meter that every training asks.

python -m benchmarks.audit                                 # images drawn at random, which takes as long as any
python -m benchmarks.audit 5000                            # fewer of them
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measure import report, side_by_side
from gesture.data.dealing import random_split
from gesture.data.files import Folder
from gesture.data.samples import Row, Samples, table
from gesture.data.thumbnails import thumbnails
from gesture.evaluation.audit import audit
from gesture.evaluation.leak import measure_leak

IMAGES, SIZE = 20_000, (224, 224)
PEOPLE, GESTURES = 10, 10
REPETITIONS = 3


def recorded(count: int) -> Samples:
    """A table as LeapGestRecog's: each person's frames of each gesture."""
    frames = count // (PEOPLE * GESTURES)
    rows = [
        Row(f"{person}/{gesture}/{frame}.png", f"{person:02d}", f"{gesture:02d}", frame)
        for person in range(PEOPLE)
        for gesture in range(GESTURES)
        for frame in range(frames)
    ]
    return table("drawn", Folder(Path()), rows)


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds by the clock, and of the processor on all cores, which others' work does not change."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return {"s": time.perf_counter() - started, "CPU s": time.process_time() - used}


def peak() -> float:
    """The most memory that this process has had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(words: list[str]) -> None:
    samples = recorded(int(words[0]) if words else IMAGES)
    images = np.random.default_rng(0).integers(0, 256, (len(samples), *SIZE), dtype=np.uint8)
    copies = np.arange(len(samples))
    split = random_split(samples.gestures, None, 0.1, 0.1, 0)

    before = peak()

    def whole() -> dict[str, float]:
        spent = timed(lambda: audit(samples, copies, split, thumbnails(images, copies), True, len(samples), 0))
        return {**spent, "MB more at the peak": peak() - before}

    def meter() -> dict[str, float]:
        return timed(lambda: measure_leak(samples, images, split, 0))

    rows = side_by_side({"leak meter of a training": meter, "audit": whole}, REPETITIONS, uncounted=0)
    report("audit", rows, {"images": len(samples), "image_size": SIZE})


if __name__ == "__main__":
    main(sys.argv[1:])
