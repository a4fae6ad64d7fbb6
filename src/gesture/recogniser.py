"""A trained network put to use: images in, gestures and probabilities out."""

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gesture.config import ConfigError
from gesture.data.decode import BadImage, Pixels, decode, is_deep, resize
from gesture.model.classifier import CHECKPOINT_FORMAT
from gesture.model.network import GestureNetwork
from gesture.run import RunDirectory
from gesture.training.hardware import choose

NETWORK_PREFIX = "network."

Picture = str | Path | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """What the network says of one image."""

    gesture: str
    probability: float
    """Of that gesture, 0 to 1."""
    probabilities: dict[str, float]
    """Of every gesture; they sum to 1."""


class Recogniser:
    """A network with the names of its gestures and the image size it was trained at."""

    def __init__(
        self, network: GestureNetwork, class_names: Sequence[str], image_size: Sequence[int], device: str
    ) -> None:
        self.network = network.eval().to(device)
        self.class_names = tuple(class_names)
        self.image_size = tuple(image_size)
        self.device = device

    @classmethod
    def load(cls, path: Path, accelerator: str = "auto") -> "Recogniser":
        """The recogniser of a run directory or of a checkpoint, which suffices by itself.

        Raises:
            ConfigError: no checkpoint there, not one of ours, or the accelerator is absent.
        """
        _, checkpoint_path = RunDirectory.find(path.expanduser())
        checkpoint = _read(checkpoint_path)
        ours = checkpoint["gesture"]
        network = GestureNetwork(ours["config"]["backbone"]["name"], len(ours["class_names"]))
        state = checkpoint["state_dict"]
        network.load_state_dict(
            {key.removeprefix(NETWORK_PREFIX): state[key] for key in state if key.startswith(NETWORK_PREFIX)}
        )
        return cls(network, ours["class_names"], ours["image_size"], choose(accelerator))

    @torch.inference_mode()
    def logits(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Logits [B, C] of prepared pixels [B, height, width]."""
        logits: torch.Tensor = self.network(torch.from_numpy(pixels).unsqueeze(1).to(self.device))
        return logits.cpu()

    def prepare(self, picture: Picture) -> Pixels:
        """Gray pixels [height, width] as the network was trained on, of a file, a Pillow image or an array.

        Arrays are uint8, [H, W] gray or [H, W, 3] RGB.

        Raises:
            gesture.data.decode.BadImage: no usable image.
            OSError: a file that cannot be read.
            TypeError: an array of another type or shape.
        """
        if isinstance(picture, str | Path):
            image = decode(Path(picture).read_bytes())
        elif isinstance(picture, Image.Image):
            image = picture
        else:
            image = _from_array(picture)
        if is_deep(image):
            raise BadImage("more than 8 bits a channel")
        return resize(image.convert("L"), self.image_size)

    def predict(self, pictures: Iterable[Picture], batch_size: int = 32) -> list[Prediction]:
        """What the network says of each picture, in their order."""
        if isinstance(pictures, str | Path | Image.Image):
            raise TypeError("predict takes several pictures: give a list, [picture] for one")
        pixels = [self.prepare(picture) for picture in pictures]
        batches = [np.stack(pixels[start : start + batch_size]) for start in range(0, len(pixels), batch_size)]
        return [prediction for batch in batches for prediction in self.predict_pixels(batch)]

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> list[Prediction]:
        """What the network says of prepared pixels [B, height, width]."""
        predictions = []
        for row in self.logits(pixels).softmax(dim=1).tolist():
            best = int(np.argmax(row))
            named = dict(zip(self.class_names, row, strict=True))
            predictions.append(Prediction(self.class_names[best], row[best], named))
        return predictions


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise TypeError(f"arrays are uint8 [H, W] gray or [H, W, 3] RGB, not {array.dtype} {list(array.shape)}")
    return Image.fromarray(array)


def _read(path: Path) -> dict[str, dict]:  # type: ignore[type-arg]
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ConfigError(f"run='{path}' is damaged or holds more than plain data, and is not loaded.") from error
    if not isinstance(checkpoint, dict) or checkpoint.get("gesture", {}).get("format") != CHECKPOINT_FORMAT:
        raise ConfigError(
            f"run='{path}' is no checkpoint of this version of gesture: give one that gesture.train wrote."
        )
    return checkpoint
