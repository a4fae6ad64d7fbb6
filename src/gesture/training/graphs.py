"""The training step as a CUDA graph: recorded once, then replayed without Python or kernel launches in between.

A small batch keeps a large GPU waiting for the next launch most of the time; a replay is one launch. The recorded
kernels are those of the plain step, on fixed memory, so the mathematics stay the same.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from gesture.training.classifier import GestureClassifier
from gesture.training.datamodule import Batch

log = logging.getLogger(__name__)

PLAIN_STEPS = 3
"""Steps before recording, in which libraries choose their algorithms and take their memory."""


def record_cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """Record what `work` does on the GPU, without doing it; the function that does it, on the same memory."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            work()
    finally:
        torch.cuda.set_stream(stream)  # which a recording that failed leaves behind
    return graph.replay


@dataclass(frozen=True)
class Recording:
    """Forward, loss and backward of one batch, with the memory they read and write."""

    images: Tensor
    targets: Tensor
    values: Tensor
    """[2] loss and accuracy"""
    gradients: list[tuple[Parameter, Tensor]]
    replay: Callable[[], None]

    def __call__(self, batch: Batch) -> Tensor:
        """The values of a batch; the gradients are in the parameters."""
        self.images.copy_(batch.images)
        self.targets.copy_(batch.targets)
        self.replay()
        for parameter, gradient in self.gradients:  # which plain steps and validation, zeroing them, have taken away
            parameter.grad = gradient
        return self.values


class GraphedClassifier(GestureClassifier):
    """A `GestureClassifier` that replays full training batches from a recording; the optimizer steps as ever.

    Plain steps remain: the first ones, batches of another size, several processes, networks that cannot be recorded.
    """

    record: Callable[[Callable[[], None]], Callable[[], None]] = staticmethod(record_cuda_graph)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recording: Recording | None = None
        self.plain_steps = 0
        self.shape: torch.Size | None = None
        self.replays = False
        self.can_be_recorded = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.replays = self._has_recording_for(batch)
        if not self.replays:
            self.plain_steps += self._is_full(batch)
            return super().training_step(batch, batch_idx)
        assert self.recording is not None
        values = self.recording(batch)
        self.note_training(values, len(batch.targets))
        return values[0]

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        if not self.replays:
            super().backward(loss, *args, **kwargs)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        if not self.replays:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        if self.current_epoch == self.config.backbone.freeze_epochs:
            self._forget()  # other parameters train from now on

    def on_train_end(self) -> None:
        self._forget()

    def _has_recording_for(self, batch: Batch) -> bool:
        if not self._is_full(batch) or self.trainer.world_size > 1:
            return False
        if self.shape != batch.images.shape:
            self._forget()  # images of another size from now on
            self.shape = batch.images.shape
        # Momenta are constants of a recording, so it waits until they change no more.
        may_record = self.can_be_recorded and self.plain_steps >= PLAIN_STEPS and not self.warm_up.is_running
        if self.recording is None and may_record:
            self._record(batch)
        return self.recording is not None

    def _is_full(self, batch: Batch) -> bool:
        return len(batch.targets) == self.config.data.batch_size

    def _record(self, batch: Batch) -> None:
        images, targets = batch.images.clone(), batch.targets.clone()
        values = torch.zeros(2, device=images.device)

        def work() -> None:
            self.zero_grad(set_to_none=True)
            loss, accuracy = self.loss_and_accuracy(images, targets)
            with torch.autocast(images.device.type, enabled=False):  # around the forward only, as in the plain step
                loss.backward()  # type: ignore[no-untyped-call]
            values.copy_(torch.stack((loss.detach(), accuracy)))

        try:
            replay = self.record(work)
        except RuntimeError as error:  # the network asks the GPU something in the middle of a step
            log.info("training step by step: this network cannot be recorded (%s)", str(error).splitlines()[0])
            self.can_be_recorded = False
            self.zero_grad(set_to_none=True)
        else:
            gradients = [(each, each.grad) for each in self.parameters() if each.grad is not None]
            self.recording = Recording(images, targets, values, gradients, replay)

    def _forget(self) -> None:
        self.recording = None
        self.plain_steps = 0
        self.zero_grad(set_to_none=True)
