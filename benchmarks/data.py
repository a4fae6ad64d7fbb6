"""Images a second of the data path: gathering batches from the cache, the training loader, and building the cache.

python -m benchmarks.data                                  # the built-in data set
python -m benchmarks.data data=leapgestrecog data.root=../shared/data/leapgestrecog
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer

from benchmarks.arms import Files, configured
from benchmarks.measure import report, side_by_side
from gesture.config.schema import TrainConfig
from gesture.data.cache import open_cache
from gesture.data.prepare import Data, prepare
from gesture.data.samples import Samples
from gesture.training.datamodule import EpochSampler, GestureData, ImageRows

REPETITIONS = 5
BATCH_SIZE = 32
GATHERED = BUILT = 20_000
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


def load(config: TrainConfig, data: Data) -> float:
    """Images a second of an epoch of the training loader, with nothing behind it."""
    module = GestureData(data, config)
    module.trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    loader = module.train_dataloader()
    started = time.perf_counter()
    images = sum(len(batch.targets) for batch in loader)
    return images / (time.perf_counter() - started)


def build(samples: Samples, size: list[int]) -> float:
    """Seconds to make the cache of BUILT images, on all cores; fewer samples are repeated."""
    repeated = samples.take(np.resize(np.arange(len(samples)), BUILT))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        open_cache(repeated, size, Path(folder))
        return time.perf_counter() - started


def plain(samples: Samples, size: list[int]) -> float:
    """Images a second of torchvision's ToTensor(Resize(image)), one after the other."""
    files = Files(samples, np.arange(min(len(samples), DECODED_PLAINLY)), size)
    started = time.perf_counter()
    for index in range(len(files)):
        files[index]
    return len(files) / (time.perf_counter() - started)


def main(words: list[str]) -> None:
    config = configured(["data=synthetic", f"data.batch_size={BATCH_SIZE}", *words])
    data, size = prepare(config.data, config.split), config.data.image_size
    samples = data.samples
    images = torch.from_numpy(data.images)
    rows = side_by_side(
        {
            "gather from the cache, one core": lambda: {"images/s": gather(images)},
            "loader alone": lambda: {"images/s": load(config, data)},
            f"build the cache of {BUILT:,}, all cores": lambda: {"s": build(samples, size)},
            "decode and resize plainly, one core": lambda: {"images/s": plain(samples, size)},
        },
        REPETITIONS,
    )
    report("data", rows, {"images": len(samples), "image_size": size, "overrides": words})


if __name__ == "__main__":
    main(sys.argv[1:])
