"""Images a second of the data path: gathering batches from the cache, and building the cache.

python -m benchmarks.data                                  # the built-in data set
python -m benchmarks.data data=leapgestrecog data.root=../shared/data/leapgestrecog
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms import Resize, ToTensor

from benchmarks.measure import ratio, report, side_by_side
from benchmarks.training import configured
from gesture.data.cache import open_cache
from gesture.data.datamodule import EpochSampler, ImageRows
from gesture.data.prepare import load_samples
from gesture.data.samples import Samples

REPETITIONS = 5
BATCH_SIZE = 32
GATHERED = 20_000
DECODED_PLAINLY = 500


def gather(images: torch.Tensor) -> float:
    """Images a second in shuffled batches, on one core."""
    torch.set_num_threads(1)
    dataset = ImageRows(images, torch.zeros(len(images), dtype=torch.int64), torch.arange(len(images)))
    order = [row for epoch in range(GATHERED // len(images) + 1) for row in EpochSampler(len(images), epoch)]
    started = time.perf_counter()
    for start in range(0, len(order), BATCH_SIZE):
        dataset.__getitems__(order[start : start + BATCH_SIZE])
    seconds = time.perf_counter() - started
    torch.set_num_threads(os.cpu_count() or 1)
    return len(order) / seconds


def build(samples: Samples, size: list[int]) -> float:
    """Images a second of a cache made from nothing, on all cores."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        open_cache(samples, size, Path(folder))
        return len(samples) / (time.perf_counter() - started)


def plain(samples: Samples, size: list[int]) -> float:
    """Images a second of torchvision's ToTensor(Resize(image)), one after the other."""
    transform, paths = Resize(size), samples.paths[:DECODED_PLAINLY]
    started = time.perf_counter()
    for path in paths:
        with Image.open(samples.files.root / path) as image:
            ToTensor()(transform(image.convert("L")))
    return len(paths) / (time.perf_counter() - started)


def main(words: list[str]) -> None:
    config = configured(words or ["data=synthetic"])
    samples, size = load_samples(config.data), config.data.image_size
    images = torch.from_numpy(open_cache(samples, size, Path(config.data.cache_dir)).images)
    arms = {
        "gather from the cache, images/s, one core": lambda: gather(images),
        "build the cache, images/s, all cores": lambda: build(samples, size),
        "decode and resize plainly, images/s": lambda: plain(samples, size),
    }
    rows = side_by_side(arms, REPETITIONS)
    built, decoded = list(rows.values())[1:]
    rows["build / plain"] = ratio(built, decoded)
    report("data", rows, {"images": len(samples), "image_size": size, "batch_size": BATCH_SIZE, "overrides": words})


if __name__ == "__main__":
    main(sys.argv[1:])
