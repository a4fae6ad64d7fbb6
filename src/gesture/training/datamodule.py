"""From decoded images to batches, straight out of the cache or out of an accelerator's memory."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from gesture.config.schema import AugmentConfig, TrainConfig
from gesture.data.prepare import Data
from gesture.data.samples import Indices
from gesture.model.network import as_floats
from gesture.training.augment import DRAWS, augment, draw

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
    """An order that is a pure function of (seed, epoch), dealt like cards to `world` processes.

    So what they have at one step is what one process has with as many images in its batch as they have together. With
    `people`, the person of each image, every person comes equally often, give or take one image; an epoch keeps its
    number of images, so those of people with many wait for a later one.

    Args:
        size: images of an epoch.
        seed: of the order.
        rank: which process this is.
        world: how many processes there are.
        people: [size] whose each image is.
        used: how many of the order's first images are dealt, as `used` says; None: all.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        people: NDArray[np.int64] | None = None,
        used: int | None = None,
    ) -> None:
        self.used = size if used is None else used
        self.total = size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.people = people
        self.epoch = 0
        self.position = 0
        """How many of the epoch's indices were given."""
        self._resumed = (-1, 0)

    def resume(self, epoch: int, position: int) -> None:
        """Begin that epoch, and only that one, behind its first `position` indices."""
        self._resumed = (epoch, position)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(range(self.rank, self.used, self.world))

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.total, generator=generator)
        if self.people is not None:
            order = self._alike(order)[torch.randperm(self.total, generator=generator)]
        epoch, position = self._resumed
        begin = position if epoch == self.epoch else 0
        for place, index in enumerate(order[: self.used][self.rank :: self.world].tolist()[begin:], begin + 1):
            self.position = place
            yield index

    def _alike(self, order: Tensor) -> Tensor:
        """As many indices, the same number of each person: the first of theirs in `order`, over and over."""
        assert self.people is not None
        theirs = self.people[order.numpy()]
        _, firsts = np.unique(theirs, return_index=True)
        everyone = theirs[np.sort(firsts)]  # in random order, since the first ones get what cannot be shared
        shares = np.full(len(everyone), self.total // len(everyone))
        shares[: self.total % len(everyone)] += 1
        drawn = [np.resize(order.numpy()[theirs == one], share) for one, share in zip(everyone, shares, strict=True)]
        return torch.from_numpy(np.concatenate(drawn))


class TrainingLoader(DataLoader[Batch]):
    """A loader whose place in an epoch Lightning keeps in checkpoints and restores."""

    sampler: EpochSampler

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "position": self.sampler.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.sampler.resume(**state)


class GestureData(LightningDataModule):
    """The three parts of a prepared data set as loaders."""

    def __init__(self, data: Data, config: TrainConfig) -> None:
        super().__init__()
        self.data = data
        self.config = config
        self.images = torch.from_numpy(data.images)
        self.targets = torch.from_numpy(data.samples.gestures)

    def setup(self, stage: str) -> None:
        """Move the images into the accelerator's memory if there is room."""
        device = self._trainer.strategy.root_device
        if self.images.device != device and self.config.data.resident and _has_room(device, self.images.nbytes):
            self.images = self.images.to(device)
            self.targets = self.targets.to(device)

    def train_dataloader(self) -> DataLoader[Batch]:
        rows, size = self.data.split.train, self.config.data.batch_size
        people = self.data.samples.subjects[rows] if self.config.data.balance == "subject" else None
        rank, world = self._trainer.global_rank, self._trainer.world_size
        sampler = EpochSampler(len(rows), self.config.seed, rank, world, people, used(len(rows), size, world))
        return self._loader(rows, TrainingLoader, batch_size=size, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader(self.data.split.val)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader(self.data.split.test)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        trainer = self._trainer
        if not trainer.training:
            return batch
        images = batch.images
        if isinstance(self.config.augment, AugmentConfig):
            draws = draw(self.config.seed, trainer.current_epoch, batch.rows.cpu().numpy(), DRAWS)
            images = augment(images, torch.from_numpy(draws), self.config.augment)
        if trainer.global_step < self.config.trainer.half_size_fraction * self.total_steps():
            images = halved(images)
        return batch._replace(images=images)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Row numbers stay on the CPU, where augmentation and records want them."""
        images, targets = (tensor.to(device, non_blocking=True) for tensor in (batch.images, batch.targets))
        return Batch(images, targets, batch.rows)

    def batches(self, world: int) -> int:
        """Batches of an epoch of each of `world` processes, if all are taken."""
        size = self.config.data.batch_size
        return math.ceil(used(len(self.data.split.train), size, world) / (size * world))

    def total_steps(self) -> int:
        """Optimizer steps of the whole training.

        Lightning's `estimated_stepping_batches` is the same number; reading it loads the data before a training that
        is resumed can say where in them it stood.
        """
        trainer = self._trainer
        batches = taken(self.batches(trainer.world_size), trainer.limit_train_batches)
        return math.ceil(batches / int(trainer.accumulate_grad_batches)) * int(trainer.max_epochs)

    @property
    def evaluation_batch_size(self) -> int:
        """Images of a batch of validation and test."""
        return EVALUATION_FACTOR * self.config.data.batch_size

    @property
    def _trainer(self) -> Any:
        assert self.trainer is not None, "GestureData works inside a Trainer"
        return self.trainer

    def _evaluation_loader(self, rows: Indices) -> DataLoader[Batch]:
        """This process's share of the batches that one process alone would have.

        An image's logits may differ in their last digit in another batch. Processes that would have one batch less
        than others have one of the first again, so that all do the same; what comes twice is counted once.
        """
        rank, world, size = self._trainer.global_rank, self._trainer.world_size, self.evaluation_batch_size
        batches = [list(range(start, min(start + size, len(rows)))) for start in range(0, len(rows), size)]
        own = [batches[place % len(batches)] for place in range(rank, -(-len(batches) // world) * world, world)]
        return self._loader(rows, batch_sampler=own)

    def _loader(self, rows: Indices, kind: type[DataLoader[Batch]] = DataLoader, **options: Any) -> DataLoader[Batch]:
        dataset = ImageRows(self.images, self.targets, torch.from_numpy(rows))
        # A loader draws a number each time it begins, from the generator that dropout draws from unless it has its own.
        generator = torch.Generator()
        return kind(dataset, collate_fn=_as_it_is, generator=generator, **options)


def taken(batches: int, limit: float) -> int:
    """How many of an epoch's batches Lightning takes for a limit: a float is a share, a whole number a number."""
    return int(batches * limit) if isinstance(limit, float) else min(batches, limit)


def halved(images: Tensor) -> Tensor:
    """Images [B, 1, H / 2, W / 2] of images [B, 1, H, W] as `Batch` has them: float32, each pixel the mean of four."""
    return F.avg_pool2d(as_floats(images), 2)


def _as_it_is(batch: Any) -> Any:
    return batch


def used(images: int, batch_size: int, world: int) -> int:
    """How many of an epoch's images are trained on, with batches of `batch_size` in each of `world` processes.

    All of them, unless the last batch is so small that some process would have one or none: there is no batch
    normalisation of one image, and all processes take the same number of steps. Those left out are others each epoch.
    """
    last = images % (batch_size * world)
    return images if images == world == 1 or last >= 2 * world else images - last


def _has_room(device: torch.device, needed: int) -> bool:
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # of earlier runs of a sweep
        return needed < RESIDENT_SHARE * (torch.cuda.mem_get_info(device)[0] + kept)
    if device.type == "mps":
        return needed < RESIDENT_SHARE * torch.mps.recommended_max_memory()
    return False
