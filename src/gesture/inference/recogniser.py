"""A trained network put to use: images in, gestures and probabilities out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gesture.config.refusals import ConfigError
from gesture.data.decode import BadImage, Images, Pixels
from gesture.data.pixels import Picture, to_pixels
from gesture.model import checkpoint
from gesture.model.hardware import Hardware, for_use
from gesture.model.network import GestureNetwork
from gesture.runs.directory import RunDirectory

CHANNELS = (1, 3, 4)
SHALLOW = 8
"""Bits of a gray level where a run recorded no data.depth."""


@dataclass(frozen=True)
class Prediction:
    """What the network says of one image."""

    gesture: str
    probability: float
    """Of that gesture, 0 to 1."""
    probabilities: dict[str, float]
    """Of every gesture; they sum to 1."""


class Recogniser:
    """A network with the names of its gestures, the images it was trained on and how its run computed.

    Its probabilities are those of the run's predictions.csv, to the last digit on the same hardware with as many
    threads and images at a time. Several threads may share one.

    Args:
        network: what recognises.
        class_names: the C gestures in the order of its outputs.
        image_size: height and width it was trained at.
        depth: bits of a gray level that the camera used in 16-bit images.
        hardware: what it computes on, and how.
    """

    def __init__(
        self,
        network: GestureNetwork,
        class_names: Sequence[str],
        image_size: Sequence[int],
        depth: int,
        hardware: Hardware,
    ) -> None:
        self.network = network.eval().to(hardware.device).to(memory_format=hardware.memory_format)
        self.class_names = tuple(class_names)
        self.image_size = tuple(image_size)
        self.depth = depth
        self.hardware = hardware

    @classmethod
    def load(
        cls, path: Path, accelerator: str = "auto", precision: str = "auto", channels_last: bool | None = None
    ) -> "Recogniser":
        """The recogniser of a run directory or of a checkpoint, which suffices by itself; it computes as its run did
        where nothing else is asked.

        Raises:
            ConfigError: no checkpoint there, none of ours, a damaged one, or the accelerator is absent.
        """
        run, checkpoint_path = RunDirectory.find(path.expanduser())
        content = checkpoint.read(checkpoint_path)
        ours = content["gesture"]
        recorded = ours.get("hardware") or _recorded_hardware(run, checkpoint_path)
        hardware = for_use(recorded, accelerator, precision, channels_last)
        network = checkpoint.network_of(content, checkpoint_path)
        depth = ours["config"]["data"].get("depth", SHALLOW)
        return cls(network, ours["class_names"], ours["image_size"], depth, hardware)

    def predict(self, pictures: Iterable[Picture | Tensor], batch_size: int = 32) -> list[Prediction]:
        """What the network says of each picture, in their order; `prepare` says what a picture may be.

        Raises:
            gesture.data.decode.BadImage: one of them is no usable image; the text says which.
            OSError: a file that cannot be read.
            TypeError, ValueError: one picture alone, no picture, an array of another type, shape or range.
            ConfigError: the network's answers are no numbers.
        """
        _check_several(pictures)
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be 1 or more")
        predictions: list[Prediction] = []
        for batch in _batches(pictures, batch_size):
            predictions += self.predict_pixels([self._prepare(picture, number) for number, picture in batch])
        return predictions

    def prepare(self, picture: Picture | Tensor) -> Pixels:
        """Gray pixels [height, width] as the network was trained on.

        A picture is a path, the bytes of an image file, a file opened for reading bytes, a Pillow image, an array as
        `to_pixels` takes it, or a tensor of such values with its channels first, as torchvision has them: [H, W],
        [1, H, W], [3, H, W] RGB or [4, H, W] RGBA. What it raises is said at `predict`.
        """
        return to_pixels(_as_array(picture) if isinstance(picture, Tensor) else picture, self.image_size, self.depth)

    def predict_pixels(self, pixels: Sequence[Pixels] | Images) -> list[Prediction]:
        """What the network says of prepared pixels [B, height, width]."""
        return [self._prediction(row) for row in self.probabilities(np.stack(list(pixels))).tolist()]

    @torch.inference_mode()
    def logits(self, pixels: Images) -> Float[Tensor, "n classes"]:
        """Logits [B, C] of prepared pixels [B, height, width]; float32 on the CPU."""
        return self._logits(pixels).cpu()

    @torch.inference_mode()
    def probabilities(self, pixels: Images) -> Float[Tensor, "n classes"]:
        """Probabilities [B, C] of prepared pixels [B, height, width]; float32 on the CPU.

        Raises:
            ConfigError: they are no numbers, though the weights are.
        """
        probabilities = self._logits(pixels).softmax(dim=1).cpu()
        if not bool(probabilities.isfinite().all()):
            raise ConfigError("the network answers with what is no number, so its training diverged: take another run.")
        return probabilities

    def _logits(self, pixels: NDArray[np.uint8]) -> Tensor:
        images = torch.from_numpy(pixels).unsqueeze(1).to(self.hardware.device)
        with self.hardware.autocast():
            logits: Tensor = self.network(images)
        return logits.float()

    def _prepare(self, picture: Picture | Tensor, number: int) -> Pixels:
        try:
            return self.prepare(picture)
        except BadImage as error:
            named = f"'{picture}'" if isinstance(picture, str | Path) else f"picture {number}"
            raise BadImage(f"{named}: {error}") from error

    def _prediction(self, row: list[float]) -> Prediction:
        best = int(np.argmax(row))
        return Prediction(self.class_names[best], row[best], dict(zip(self.class_names, row, strict=True)))


def _recorded_hardware(run: RunDirectory, checkpoint_path: Path) -> dict[str, Any]:
    """What result.json says where the checkpoint is of a version that did not say it; nothing where it stands alone."""
    in_its_run = run.checkpoints == checkpoint_path.resolve().parent and run.result.is_file()
    return (run.read_result().get("device") if in_its_run else None) or {}


def _check_several(pictures: Any) -> None:
    """A string, an array and an opened file can be gone through too, but not picture by picture."""
    if isinstance(pictures, str | bytes | bytearray | Path | Image.Image | np.ndarray | Tensor) or hasattr(
        pictures, "read"
    ):
        raise TypeError("predict takes several pictures: give a list, [picture] for one, list(array) for a stack")
    if not isinstance(pictures, Iterable):
        raise TypeError(f"predict takes several pictures, not {type(pictures).__name__}: give a list of them")


def _batches(pictures: Iterable[Picture | Tensor], batch_size: int) -> Iterator[list[tuple[int, Picture | Tensor]]]:
    numbered = enumerate(pictures)
    while batch := list(islice(numbered, batch_size)):
        yield batch


def _as_array(tensor: Tensor) -> NDArray[Any]:
    """A picture of torch with its channels last, as other pictures have them."""
    if tensor.ndim != 2 and not (tensor.ndim == 3 and tensor.shape[0] in CHANNELS):
        raise ValueError(f"a tensor must be [H, W], [1, H, W], [3, H, W] or [4, H, W], not {list(tensor.shape)}")
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.is_floating_point() else tensor  # numpy has no bfloat16
    array: NDArray[Any] = (tensor if tensor.ndim == 2 else tensor.permute(1, 2, 0)).numpy()
    return array
