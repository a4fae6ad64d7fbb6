"""Four ways to train the same network on the same images.

plain     (a) the reference report's way: PIL, Resize, ToTensor, DataLoader, float32, batch 8, Adam
ceiling   (b) a bare loop over tensors that are on the device already, with all that makes PyTorch fast there
gesture   (c) this framework with everything on
folders   (d) Lightning, ImageFolder and worker processes, as tutorials have it
"""

import contextlib
import csv
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, Dataset, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, Grayscale, Resize, ToTensor

from benchmarks.words import last_wins
from gesture.config.compose import compose
from gesture.config.schema import TrainConfig
from gesture.data.prepare import Data, prepare
from gesture.data.samples import Indices, Samples
from gesture.model.hardware import keep_freed_memory, resolve
from gesture.model.network import GestureNetwork
from gesture.runs.directory import RunDirectory
from gesture.training import experiment
from gesture.training.datamodule import EpochSampler, ImageRows
from gesture.training.optimizers import build_optimizer
from gesture.training.trainer import quieten_lightning

REPORTS_BATCH, REPORTS_LR = 8, 1e-4
WARM_UP_STEPS = 3
NAN = float("nan")
NEEDLESS = ".*tensorboardX.*|.*num_workers.*|.*persistent_workers.*|.*logging interval.*"
"""Warnings of Lightning that help nobody here."""


class Epoch(NamedTuple):
    """One epoch's training steps; the validation's accuracy and the training's loss where the arm measures them."""

    images: int
    seconds: float
    accuracy: float = NAN
    loss: float = NAN

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds


def configured(words: list[str]) -> TrainConfig:
    """The configuration of gesture.train with these overrides."""
    config: TrainConfig = compose("train", last_wins(words))
    return config


class Files(Dataset[tuple[Tensor, int]]):
    """Image files as nearly every tutorial reads them."""

    def __init__(self, samples: Samples, rows: Indices, size: list[int]) -> None:
        self.paths = [samples.files.root / samples.paths[row] for row in rows]
        self.targets = samples.gestures[rows].tolist()
        self.transform = Compose([Resize(size), ToTensor()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.open(self.paths[index]).convert("L")), self.targets[index]


def plain(config: TrainConfig, data: Data, validates: bool = False) -> Iterator[Epoch]:
    """(a) An epoch at a time; `loss.on_probabilities` feeds softmax outputs to the loss, as the report does."""
    device = torch.device(resolve(config.accelerator, "32-true").name)
    size, rows = config.data.image_size, data.split
    torch.manual_seed(config.seed)
    loader = DataLoader(Files(data.samples, rows.train, size), REPORTS_BATCH, shuffle=True)
    held_out = DataLoader(Files(data.samples, rows.val, size), REPORTS_BATCH)
    network = GestureNetwork(config.backbone.name, len(data.samples.class_names)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=REPORTS_LR)
    while True:
        network.train()
        started = time.perf_counter()
        for images, targets in loader:
            optimizer.zero_grad()
            logits = network(images.to(device))
            outputs = logits.softmax(dim=1) if config.loss.on_probabilities else logits
            loss = F.cross_entropy(outputs, targets.to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss.item()
        seconds = time.perf_counter() - started
        yield Epoch(len(rows.train), seconds, _accuracy(network, held_out, device) if validates else NAN)


@torch.no_grad()
def _accuracy(network: GestureNetwork, loader: DataLoader[Any], device: torch.device) -> float:
    network.eval()
    right = [network(images.to(device)).argmax(1).cpu() == targets for images, targets in loader]
    return float(torch.cat(right).float().mean())


def ceiling(config: TrainConfig, data: Data) -> Iterator[Epoch]:
    """(b) An epoch at a time; whole steps are CUDA graphs where there is CUDA."""
    hardware = resolve(config.accelerator, config.trainer.precision)
    device = torch.device(hardware.name)
    if hardware.name == "cpu":
        keep_freed_memory()
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(config.seed)
    network = GestureNetwork(config.backbone.name, len(data.samples.class_names))
    network.to(memory_format=hardware.memory_format).to(device).train()
    optimizer = build_optimizer(network, config.optimizer, config.backbone.lr_factor)
    rows = torch.from_numpy(data.split.train)
    images = torch.from_numpy(data.images).to(device)
    dataset = ImageRows(images, torch.from_numpy(data.samples.gestures).to(device), rows)
    size = config.data.batch_size

    def step(images: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=hardware.precision == "bf16-mixed"):
            loss = F.cross_entropy(network(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    run: Callable[[Tensor, Tensor], None] = step
    for epoch in range(10**9):
        order = list(EpochSampler(len(rows), config.seed + epoch))[: len(rows) // size * size]
        started = time.perf_counter()
        for count, start in enumerate(range(0, len(order), size)):
            batch = dataset.__getitems__(order[start : start + size])
            if run is step and device.type == "cuda" and count == WARM_UP_STEPS:
                run = _graphed(step, batch.images, batch.targets, optimizer)
            run(batch.images, batch.targets)
        if device.type != "cpu":
            torch.accelerator.synchronize()
        yield Epoch(len(order), time.perf_counter() - started)


def _graphed(
    step: Callable[[Tensor, Tensor], None], images: Tensor, targets: Tensor, optimizer: torch.optim.Optimizer
) -> Callable[[Tensor, Tensor], None]:
    """The whole step, optimizer included, as one CUDA graph."""
    for group in optimizer.param_groups:
        group["capturable"] = True
    images, targets, graph = images.clone(), targets.clone(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(images, targets)

    def replay(new_images: Tensor, new_targets: Tensor) -> None:
        images.copy_(new_images)
        targets.copy_(new_targets)
        graph.replay()

    return replay


def gesture(config: TrainConfig) -> list[Epoch]:
    """(c) All epochs of a run that finds no cache; the first one's seconds include decoding its images."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = replace(config, data=replace(config.data, cache_dir=f"{folder}/cache"))
        started = time.perf_counter()
        data = prepare(config.data, config.split)
        decoding_s = (time.perf_counter() - started) * len(data.split.train) / len(data.samples)
        run = RunDirectory(Path(folder) / "run")
        run.path.mkdir()
        experiment.run(config, run, [])
        with run.metrics.open() as file:
            epochs = list(csv.DictReader(file))
    images = len(data.split.train)
    seconds = [images / float(epoch["images_per_second"]) for epoch in epochs]
    seconds[0] += decoding_s
    measured = [(float(epoch["val/accuracy"]), float(epoch["train/loss"])) for epoch in epochs]
    return [Epoch(images, one, *figures) for one, figures in zip(seconds, measured, strict=True)]


class Tutorial(LightningModule):
    """What a tutorial on Lightning writes."""

    def __init__(self, network: GestureNetwork, classes: int) -> None:
        super().__init__()
        self.network = network
        self.accuracy = MulticlassAccuracy(classes)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, targets = batch
        logits = self.network(images)
        loss = F.cross_entropy(logits, targets)
        self.log("loss", loss, prog_bar=True)
        self.log("accuracy", self.accuracy(logits, targets), prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=REPORTS_LR)


class EpochClock(Callback):
    """The seconds of each training epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def folders(config: TrainConfig, data: Data) -> list[Epoch]:
    """(d) The configuration's epochs and batch size; a random 80 % trains."""
    quieten_lightning()
    warnings.filterwarnings(
        "ignore", message=".*tensorboardX.*|.*num_workers.*|.*persistent_workers.*|.*logging interval.*"
    )
    transform = Compose([Grayscale(), Resize(config.data.image_size), ToTensor()])
    people = sorted(path for path in data.samples.files.root.iterdir() if path.is_dir())
    images: Dataset[Any] = ConcatDataset([ImageFolder(str(person), transform) for person in people])
    train, _ = random_split(images, [0.8, 0.2])
    loader = DataLoader(train, config.data.batch_size, shuffle=True, num_workers=os.cpu_count() or 1)
    classes = len(data.samples.class_names)
    clock = EpochClock()
    accelerator = resolve(config.accelerator, "32-true").name
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=config.trainer.max_epochs,
            callbacks=[clock],
            default_root_dir=folder,
            enable_model_summary=False,
        )
        trainer.fit(Tutorial(GestureNetwork(config.backbone.name, classes), classes), loader)
    return [Epoch(len(train), seconds) for seconds in clock.seconds]
