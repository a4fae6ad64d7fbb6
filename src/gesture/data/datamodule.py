"""From decoded images to batches, straight out of the cache or out of an accelerator's memory."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from gesture.config import AugmentConfig, DataConfig
from gesture.data.augment import DRAWS, as_floats, augment, draw
from gesture.data.prepare import Data
from gesture.data.samples import Indices

RESIDENT_SHARE = 0.5
"""Share of an accelerator's free memory that images may take; the network needs the rest."""

EVALUATION_FACTOR = 2
"""Evaluation's batches to training's: without gradients, twice the images need no more memory."""


class Batch(NamedTuple):
    """B images with their gestures and their row numbers in the table of samples."""

    images: Tensor
    """[B, 1, H, W], uint8; float32 in [0, 1] when augmented or halved."""
    targets: Tensor
    """[B]"""
    rows: Tensor
    """[B], on the CPU"""


class ImageRows(Dataset[Batch]):
    """Some rows of the images; a whole batch is one gather."""

    def __init__(self, images: Tensor, targets: Tensor, rows: Tensor) -> None:
        self.images = images.flatten(1)  # gathering flat rows is copying memory
        self.shape = images.shape[1:]
        self.targets = targets
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = self.rows[indices]
        here = rows.to(self.images.device, non_blocking=True)
        images = self.images.index_select(0, here).view(-1, 1, *self.shape)
        return Batch(images, self.targets.index_select(0, here), rows)


class EpochSampler(Sampler[int]):
    """An order that is a pure function of (seed, epoch), dealt to `world` processes."""

    def __init__(self, size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.size = size // world * world  # processes that wait for each other need the same number of steps
        self.total = size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.world

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.total, generator=generator)[: self.size]
        return iter(order[self.rank :: self.world].tolist())


class GestureData(LightningDataModule):
    """The three parts of a prepared data set as loaders."""

    def __init__(
        self, data: Data, config: DataConfig, augmentation: AugmentConfig, seed: int, half_size_fraction: float = 0.0
    ) -> None:
        super().__init__()
        self.data = data
        self.config = config
        self.augmentation = augmentation
        self.augments = any((augmentation.rotation, augmentation.scale, augmentation.shift, augmentation.gamma))
        self.seed = seed
        self.half_size_fraction = half_size_fraction
        self.images = torch.from_numpy(data.images)
        self.targets = torch.from_numpy(data.samples.gestures)

    def setup(self, stage: str) -> None:
        """Move the images into the accelerator's memory if there is room."""
        device = self._trainer.strategy.root_device
        if self.images.device != device and self.config.resident and _has_room(device, self.images.nbytes):
            self.images = self.images.to(device)
            self.targets = self.targets.to(device)

    def train_dataloader(self) -> DataLoader[Batch]:
        rows = self.data.split.train
        size = self.config.batch_size
        sampler = EpochSampler(len(rows), self.seed, self._trainer.global_rank, self._trainer.world_size)
        return self._loader(rows, size, sampler=sampler, drop_last=_leaves_one(len(sampler), size))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader(self.data.split.val)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader(self.data.split.test)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        trainer = self._trainer
        if not trainer.training:
            return batch
        images = batch.images
        if self.augments:
            draws = torch.from_numpy(draw(self.seed, trainer.current_epoch, batch.rows.cpu().numpy(), DRAWS))
            images = augment(images, draws, self.augmentation)
        if trainer.global_step < self.half_size_fraction * self._total_steps():
            images = halved(images)
        return batch._replace(images=images)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Row numbers stay on the CPU, where augmentation and records want them."""
        images, targets = (tensor.to(device, non_blocking=True) for tensor in (batch.images, batch.targets))
        return Batch(images, targets, batch.rows)

    def steps_per_epoch(self, world: int) -> int:
        """Optimizer steps of each of `world` processes."""
        images = len(self.data.split.train) // world
        return math.ceil(images / self.config.batch_size) - _leaves_one(images, self.config.batch_size)

    def _total_steps(self) -> int:
        return self.steps_per_epoch(self._trainer.world_size) * int(self._trainer.max_epochs)

    @property
    def _trainer(self) -> Any:
        assert self.trainer is not None, "GestureData works inside a Trainer"
        return self.trainer

    def _evaluation_loader(self, rows: Indices) -> DataLoader[Batch]:
        """This process's share of the rows; together the processes see each image once."""
        share = rows[self._trainer.global_rank :: self._trainer.world_size]
        return self._loader(share, EVALUATION_FACTOR * self.config.batch_size)

    def _loader(self, rows: Indices, batch_size: int, **options: Any) -> DataLoader[Batch]:
        dataset = ImageRows(self.images, self.targets, torch.from_numpy(rows))
        return DataLoader(dataset, batch_size=batch_size, collate_fn=_as_it_is, **options)


def halved(images: Tensor) -> Tensor:
    """Images [B, 1, H / 2, W / 2] of images [B, 1, H, W] as `Batch` has them: float32, each pixel the mean of four."""
    return F.avg_pool2d(as_floats(images), 2)


def _as_it_is(batch: Any) -> Any:
    return batch


def _leaves_one(images: int, batch_size: int) -> bool:
    """Whether the last batch holds one image: it has no batch statistics, and batch normalisation would fail on it."""
    return images > 1 and images % batch_size == 1


def _has_room(device: torch.device, needed: int) -> bool:
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # of earlier runs of a sweep
        return needed < RESIDENT_SHARE * (torch.cuda.mem_get_info(device)[0] + kept)
    if device.type == "mps":
        return needed < RESIDENT_SHARE * torch.mps.recommended_max_memory()
    return False
