"""From any picture to the gray pixels that a network sees: one way, whoever asks.

Training, prediction and whatever is built on them call `to_pixels`, or its two halves where the picture between them is
wanted too, so that one picture always gives the same pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from gesture.data.decode import BadImage, Images, Pixels, as_gray, check_size, decode, shallow
from gesture.data.files import read_regular

Picture = bytes | str | Path | BinaryIO | Image.Image | NDArray[Any]
"""An image file's bytes, its path, the opened file; a Pillow image; an array as `_from_array` takes it."""
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


def to_pixels(picture: Picture, image_size: Sequence[int], depth: int) -> Pixels:
    """Gray pixels, uint8 [height, width] with `image_size` = (height, width).

    Args:
        picture: arrays are [H, W], [H, W, 1], [H, W, 3] RGB or [H, W, 4] RGBA of uint8 or of floats from 0 to 1, or
            uint16 gray.
        depth: bits of a gray level that the camera used in 16-bit images; with 8 deeper images are refused.

    Raises:
        gesture.data.decode.BadImage: no usable image.
        OSError: a file that cannot be read.
        TypeError, ValueError: no picture; an array of another type, shape or range.
    """
    return resize(to_gray(picture, depth), image_size)


def read_all(
    pictures: Sequence[Path | NDArray[Any]], image_size: Sequence[int], depth: int
) -> tuple[Images, list[str]]:
    """The pixels of those that are usable images, [N, height, width], and the reasons of the others."""
    found, bad = [np.zeros((0, *image_size), dtype=np.uint8)], []
    for picture in pictures:
        try:
            found.append(to_pixels(picture, image_size, depth)[None])
        except (BadImage, OSError) as error:
            bad.append(f"{picture} ({error})")
    return np.concatenate(found), bad


def to_gray(picture: Picture, depth: int) -> Image.Image:
    """The picture in 8-bit gray at its own size; raises what `to_pixels` raises."""
    if isinstance(picture, Image.Image):
        return as_gray(picture, depth)
    if isinstance(picture, np.ndarray):
        return _from_array(picture, depth)
    if isinstance(picture, str | Path):
        return decode(read_regular(Path(picture)), depth)
    content = picture.read() if hasattr(picture, "read") else picture
    if not isinstance(content, bytes | bytearray | memoryview):
        raise TypeError(
            f"{type(picture).__name__} is no picture: give a path, bytes, an opened binary file, a Pillow image or an "
            "array."
        )
    return decode(bytes(content), depth)


def resize(image: Image.Image, image_size: Sequence[int]) -> Pixels:
    """Gray pixels, uint8 [height, width], of a gray image.

    torchvision's `Resize` of a Pillow image is Pillow's own antialiased bilinear filter.
    """
    height, width = image_size
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def _from_array(array: NDArray[Any], depth: int) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in CHANNELS:
        raise ValueError(f"an array must be [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], not {list(array.shape)}.")
    check_size(array.shape[1], array.shape[0])
    if array.ndim == 3 and channels == 1:
        array = array[..., 0]
    if array.dtype == np.uint16 and channels == 1:
        return shallow(array, depth)
    return as_gray(Image.fromarray(_as_bytes(array)), depth)


def _as_bytes(array: NDArray[Any]) -> UInt8[np.ndarray, "..."]:
    """An array of floats from 0 to 1 as the nearest of 256 levels."""
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"an array must be uint8, floats from 0 to 1, or uint16 gray, not {array.dtype}.")
    if not (array.min() >= 0 and array.max() <= 1):  # not a number is neither
        raise ValueError("an array of floats must hold values from 0 to 1: divide it by its white.")
    return np.round(array * np.float64(255)).astype(np.uint8)
