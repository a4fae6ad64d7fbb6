"""From the bytes of an image file to gray pixels: 8 bits, upright, transparency laid over black."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
from jaxtyping import UInt8
from kornia_rs.io import decode_image_png_u8
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFile, ImageOps, UnidentifiedImageError

Pixels = UInt8[np.ndarray, "height width"]
Images = UInt8[np.ndarray, "n height width"]

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
"""What Pillow may take a file for. Among its others are some that start programs or fetch what a file names."""
MOST_PIXELS = 89_478_485
"""Pillow's own limit: a quarter of a gigabyte in colour."""
DEEP_GRAY = ("I", "I;16", "I;16B", "I;16L", "I;16N")
TIFF_TILE_WIDTH, TIFF_TILE_LENGTH = 322, 323
DEEP_TILE = ";16"
"""In what Pillow calls the stored form of 16-bit colours, whose `mode` hides that it would cut them to 8 bits."""
MAY_TURN = {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}
"""The PNG chunks that may say how the camera was held; they may stand behind the pixels."""

_OPENING = Lock()


class BadImage(Exception):
    """An image that cannot be used, with the reason."""


def decode(content: bytes, depth: int = 8) -> Image.Image:
    """The picture in a file's bytes as 8-bit gray; `as_gray` says how.

    The checksum of a gray PNG's compressed pixels is not looked at, only those of its chunks.

    Raises:
        BadImage: empty, truncated, no image, deeper than `depth`, or too large to be a photograph.
    """
    if not content:
        raise BadImage("zero bytes")
    with _faults_told():
        file = _opened(content)
        if _is_plain_gray_png(file, content):
            return _decode_gray_png(content, file)
        return _as_gray(file, depth)


def as_gray(image: Image.Image, depth: int) -> Image.Image:
    """A picture in 8-bit gray, turned as its camera says, transparency laid over black.

    A picture that black swallows whole, a cut-out whose shape is in its alpha alone, is read by that alpha. 16-bit
    gray, of which the camera used `depth` bits, loses its lowest `depth - 8`.

    Raises:
        BadImage: without pixels, damaged, deeper than `depth`, or too large to be a photograph.
    """
    check_size(image.width, image.height)
    with _faults_told():
        return _as_gray(image, depth)


def _load_unmapped(image: Image.Image) -> None:
    """Read an opened file's pixels; Pillow does not turn those that it maps into memory, which it does by name."""
    if isinstance(image, ImageFile.ImageFile):
        _check_tiles(image)
        name, image.filename = image.filename, ""
        try:
            image.load()
        finally:
            image.filename = name


def _check_tiles(image: ImageFile.ImageFile) -> None:
    """A TIFF's tiles, of which one is read at a time, may be larger than the picture."""
    tags = getattr(image, "tag_v2", {})
    check_size(tags.get(TIFF_TILE_WIDTH, 1), tags.get(TIFF_TILE_LENGTH, 1))


def check_size(width: int, height: int) -> None:
    """Raises BadImage for a picture without pixels, and for one that may be a decompression bomb."""
    if not width or not height:
        raise BadImage("no pixels")
    if width * height > MOST_PIXELS:
        raise BadImage("too many pixels (a decompression bomb?)")


def shallow(levels: NDArray[np.unsignedinteger] | NDArray[np.signedinteger], depth: int) -> Image.Image:
    """Gray levels of `depth` bits by their highest eight.

    Raises:
        BadImage: `depth` is 8, or some level needs more bits.
    """
    if depth <= 8:
        raise BadImage("more than 8 bits a channel: say with data.depth how many the camera used")
    lowest, highest = int(levels.min()), int(levels.max())
    if lowest < 0 or highest >> depth:
        raise BadImage(f"gray levels from {lowest} to {highest} where data.depth={depth} allows 0 to {2**depth - 1}")
    return Image.fromarray((levels >> (depth - 8)).astype(np.uint8))


@contextmanager
def _faults_told() -> Iterator[None]:
    """Whatever Pillow finds wrong is a bad image."""
    try:
        yield
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage("too many pixels (a decompression bomb?)") from error
    except UnidentifiedImageError as error:
        raise BadImage("not an image") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise BadImage(str(error) or type(error).__name__) from error


def _opened(content: bytes) -> Image.Image:
    """A file whose pixels are not read yet, if it is small enough; Pillow would merely print a warning."""
    with _OPENING, warnings.catch_warnings():  # which are the whole process's, and so one thread's at a time
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        file = Image.open(io.BytesIO(content), formats=FORMATS)
    check_size(file.width, file.height)
    return file


def _is_plain_gray_png(file: Image.Image, content: bytes) -> bool:
    """8-bit gray that is shown as it is stored."""
    return (
        file.format == "PNG"
        and file.tile[0].args == "L"  # type: ignore[attr-defined]
        and not file.has_transparency_data
        and MAY_TURN.isdisjoint(_chunks(content))
    )


def _chunks(content: bytes) -> Iterator[bytes]:
    """The kinds of a PNG's chunks."""
    start = 8
    while start < len(content):
        yield content[start + 4 : start + 8]
        start += 12 + int.from_bytes(content[start : start + 4], "big")


def _decode_gray_png(content: bytes, file: Image.Image) -> Image.Image:
    """8-bit gray PNGs, as infrared cameras give them, from a decoder that is three times as fast as Pillow's."""
    try:
        return Image.fromarray(decode_image_png_u8(content, (file.height, file.width), "mono")[..., 0])
    except Exception:  # Pillow says what is wrong, and passes over wrong checksums
        file.load()
        return file


def _as_gray(image: Image.Image, depth: int) -> Image.Image:
    if any(DEEP_TILE in str(tile) for tile in getattr(image, "tile", ())) and image.mode not in DEEP_GRAY:
        raise BadImage("more than 8 bits a channel, and not plain gray: save it as 8-bit, or as 16-bit gray")
    if image.mode == "F":
        raise BadImage("gray levels that are no whole numbers")
    _load_unmapped(image)
    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP_GRAY:
        return shallow(np.asarray(image), depth)
    if image.has_transparency_data:
        return _over_black(image.convert("RGBA"))
    return image if image.mode == "L" else image.convert("L")


def _over_black(image: Image.Image) -> Image.Image:
    alpha = image.getchannel("A")
    shown = ImageChops.multiply(image.convert("L"), alpha)
    lowest, highest = alpha.getextrema()
    return alpha if shown.getextrema() == (0, 0) and lowest != highest else shown
