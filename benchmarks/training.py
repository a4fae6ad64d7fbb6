"""Images a second of training with everything on, beside a bare PyTorch loop over the same tensors.

    python -m benchmarks.training
    python -m benchmarks.training data.image_size=[64,64] data.batch_size=8 backbone=mobilenet_v3_small

Same network, precision, memory format, optimizer and batches; `gesture` adds Lightning, metrics, bar, TensorBoard,
records and checkpoints. Words are overrides of gesture.train.
"""

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from torch.nn import functional as F

from benchmarks.measure import ratio, report, side_by_side
from gesture import experiment
from gesture.config import TrainConfig, config_dir, parse
from gesture.data.datamodule import EpochSampler, ImageRows
from gesture.data.prepare import Data, prepare
from gesture.model.network import GestureNetwork
from gesture.model.optimizers import build_optimizer
from gesture.run import RunDirectory
from gesture.training.hardware import resolve

REPETITIONS = 5
DEFAULTS = ["data=synthetic", "data.frames=8", "data.batch_size=32", "trainer.max_epochs=1"]


def configured(words: list[str]) -> TrainConfig:
    """The configuration of gesture.train with these overrides."""
    ConfigStore.instance().store("train_schema", TrainConfig)
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        return parse(compose("train", words), TrainConfig)


def with_everything(config: TrainConfig) -> float:
    """Images a second of the training steps of one run."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        return experiment.run(config, RunDirectory(Path(folder)), []).images_per_second


def bare(config: TrainConfig, data: Data) -> float:
    """Images a second of the same steps, written as plainly as PyTorch allows."""
    hardware = resolve(config.accelerator, config.trainer.precision)
    device = torch.device(hardware.name)
    network = GestureNetwork(config.backbone.name, len(data.samples.class_names))
    network.to(memory_format=hardware.memory_format).to(device).train()
    optimizer = build_optimizer(network, config.optimizer, config.backbone.lr_factor)
    rows = torch.from_numpy(data.split.train)
    dataset = ImageRows(
        torch.from_numpy(data.images).to(device), torch.from_numpy(data.samples.gestures).to(device), rows
    )
    order = list(EpochSampler(len(rows), config.seed))
    size = config.data.batch_size
    batches = [dataset.__getitems__(order[start : start + size]) for start in range(0, len(order), size)]
    started = time.perf_counter()
    for images, targets, _ in batches:
        with torch.autocast(device.type, torch.bfloat16, enabled=hardware.precision == "bf16-mixed"):
            loss = F.cross_entropy(network(images), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return len(order) / (time.perf_counter() - started)


def main(words: list[str]) -> None:
    words = [*DEFAULTS, *words]
    config = configured(words)
    data = prepare(config.data, config.split)
    arms = {"gesture, images/s": lambda: with_everything(config), "bare PyTorch, images/s": lambda: bare(config, data)}
    rows = side_by_side(arms, REPETITIONS)
    rows["gesture / bare"] = ratio(rows["gesture, images/s"], rows["bare PyTorch, images/s"])
    hardware = resolve(config.accelerator, config.trainer.precision)
    report("training", rows, {"overrides": words, **hardware.describe()})


if __name__ == "__main__":
    main(sys.argv[1:])
