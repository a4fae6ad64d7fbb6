"""From the bytes of an image file to gray pixels, exactly as torchvision's `Resize` on the decoded image gives them."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from kornia_rs.io import decode_image_png_u8
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L")
DEEP_TILE = ";16"
"""In what Pillow calls the stored form of 16-bit colours, whose `mode` hides that it would cut them to 8 bits."""


class BadImage(Exception):
    """An image that cannot be used, with the reason."""


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Inside, a picture so large that it may be a decompression bomb is an error. For the whole process: never
    enter it in two threads at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(content: bytes) -> Image.Image:
    """The picture in 8-bit gray, upright.

    The checksum of a gray PNG's compressed pixels is not looked at, only those of its chunks.

    Raises:
        BadImage: empty, truncated, no image, 16-bit, or too large to be a photograph.
    """
    if not content:
        raise BadImage("zero bytes")
    try:
        file = Image.open(io.BytesIO(content))
        if is_deep(file):
            raise BadImage("more than 8 bits a channel")
        if file.format == "PNG" and file.tile[0].args == "L":
            return _decode_gray_png(content, file)
        file.load()
        # Cameras note how they were held instead of turning the pixels.
        image = ImageOps.exif_transpose(file) if file.format in ("JPEG", "MPO", "WEBP") else file
        return image if image.mode == "L" else image.convert("L")
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage("too many pixels (a decompression bomb?)") from error
    except UnidentifiedImageError as error:
        raise BadImage("not an image") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise BadImage(str(error) or type(error).__name__) from error


def _decode_gray_png(content: bytes, file: Image.Image) -> Image.Image:
    """8-bit gray PNGs, as infrared cameras give them, from a decoder that is three times as fast as Pillow's."""
    try:
        return Image.fromarray(decode_image_png_u8(content, (file.height, file.width), "mono")[..., 0])
    except Exception:  # Pillow says what is wrong, and passes over wrong checksums
        file.load()
        return file


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is not loaded yet has more than 8 bits a channel."""
    return image.mode in DEEP_MODES or any(DEEP_TILE in str(tile) for tile in getattr(image, "tile", ()))


def resize(image: Image.Image, image_size: Sequence[int]) -> Pixels:
    """Gray pixels, uint8 [height, width].

    torchvision's `Resize` of a Pillow image is Pillow's own antialiased bilinear filter.
    """
    height, width = image_size
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
