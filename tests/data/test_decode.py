"""Reading image files: damaged and deep ones refused, gray PNGs of all kinds with Pillow's pixels."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from gesture.data.decode import BadImage, Pixels, decode


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_all_16_bit_pngs_are_bad(colour_type: int, channels: int) -> None:
    rows = b"".join(b"\0" + b"\x12\x34" * channels * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    with pytest.raises(BadImage, match="more than 8 bits a channel"):
        decode(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks), 8)


def _interlaced(pixels: Pixels) -> bytes:
    """The rows of PNG's seven passes, unfiltered."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx])


@pytest.mark.parametrize("oddity", ["none", "interlaced", "gamma", "two parts", "wrong checksum"])
def test_gray_pngs_of_all_kinds_have_the_pixels_that_pillow_finds(oddity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 40), dtype=np.uint8)
    header = struct.pack(">IIBBBBB", 40, 24, 8, 0, 0, 0, oddity == "interlaced")
    rows = _interlaced(pixels) if oddity == "interlaced" else b"".join(b"\0" + row.tobytes() for row in pixels)
    stream = zlib.compress(rows)
    body = (
        _chunk(b"IDAT", stream[:50]) + _chunk(b"IDAT", stream[50:])
        if oddity == "two parts"
        else _chunk(b"IDAT", stream)
    )
    if oddity == "wrong checksum":
        body = body[:-1] + bytes([body[-1] ^ 1])
    more = {"gamma": _chunk(b"gAMA", struct.pack(">I", 100_000))}
    content = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + more.get(oddity, b"") + body + _chunk(b"IEND", b"")
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image), pixels)
    if oddity != "wrong checksum":  # which Pillow overlooks
        monkeypatch.delattr(PngImageFile, "load_prepare")  # Pillow cannot decode
    assert np.array_equal(np.asarray(decode(content, 8)), pixels)


def test_decoding_refuses_what_is_no_image() -> None:
    with pytest.raises(BadImage, match="not an image"):
        decode(b"text", 8)
