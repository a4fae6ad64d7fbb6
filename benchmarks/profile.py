"""Where a training step's time goes, and how near its arithmetic comes to what the hardware can do.

    python -m benchmarks.profile
    python -m benchmarks.profile backbone=resnet50 data.batch_size=256

The step is the bare loop's (benchmarks.arms.ceiling). The roof is the best rate of a large matrix product in the same
precision; a convolution network cannot train faster than its operations divided by that.
"""

import sys
import time
from itertools import islice

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.arms import ceiling, configured
from benchmarks.measure import Measured, report
from gesture.data.prepare import prepare
from gesture.model.hardware import resolve
from gesture.model.network import GestureNetwork

DEFAULTS = ["data=synthetic", "data.frames=4", "data.batch_size=32"]
SHOWN = 12
PRODUCT = {"cuda": 8192, "mps": 4096, "cpu": 2048}
REPETITIONS = 5


def operations(config_name: str, classes: int, height: int, width: int) -> int:
    """Floating-point operations of training on one image: forward and backward."""
    network = GestureNetwork(config_name, classes)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, 1, height, width)).sum().backward()
    return int(counter.get_total_flops()) // 2


def roof(device: torch.device, dtype: torch.dtype) -> Measured:
    """Floating-point operations a second of large matrix products."""
    size = PRODUCT[device.type]
    matrix = torch.randn(size, size, device=device).to(dtype)
    rates = []
    for _ in range(REPETITIONS + 1):
        started = time.perf_counter()
        (matrix @ matrix)[0, 0].item()
        rates.append(2 * size**3 / (time.perf_counter() - started))
    return Measured(tuple(rates[1:]))


def main(words: list[str]) -> None:
    config = configured([*DEFAULTS, *words])
    data = prepare(config.data, config.split)
    hardware = resolve(config.accelerator, config.trainer.precision)
    device = torch.device(hardware.name)
    dtype = torch.bfloat16 if hardware.precision == "bf16-mixed" else torch.float32
    arm = ceiling(config, data)
    next(arm)
    speed = Measured(tuple(epoch.images_per_second for epoch in islice(arm, REPETITIONS)))
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities) as profiled:
        next(arm)
    order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    averages = profiled.key_averages()
    print(averages.table(sort_by=order, row_limit=SHOWN, max_name_column_width=45))
    name = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    times = {average.key: getattr(average, name) for average in averages}
    shares = sorted(((times[key] / sum(times.values()), key) for key in times), reverse=True)[:SHOWN]
    work, best = operations(config.backbone.name, 10, *config.data.image_size), roof(device, dtype)
    rows = {
        "bare loop, images/s": speed,
        "operations an image, 10^9": Measured((work / 1e9,)),
        "roof of a matrix product, 10^9 operations/s": Measured(tuple(rate / 1e9 for rate in best.values)),
        "roof, images/s": Measured((best.median / work,)),
        "bare loop / roof": Measured((speed.median * work / best.median,)),
    }
    rows |= {f"share of {key}": Measured((share,)) for share, key in shares}
    report("profile", rows, {"overrides": [*DEFAULTS, *words], **hardware.describe()})


if __name__ == "__main__":
    main(sys.argv[1:])
