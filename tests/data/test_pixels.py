"""One picture gives the same pixels by every door: a path, bytes, an opened file, a Pillow image, an array."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gesture.data.decode import BadImage
from gesture.data.pixels import to_gray, to_pixels

SIZE = [30, 40]
TURNED = 6  # held at the right: turn clockwise

# A picture that Pillow opened and that is refused stays open until it is collected: its owner may try it again.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def by_every_door(path: Path) -> list[Any]:
    with path.open("rb") as file, Image.open(path) as image:
        doors: list[Any] = [path, str(path), path.read_bytes(), file, image]
        return [to_pixels(door, SIZE, 8).tobytes() for door in doors]


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".jpg", {"quality": 100}),
        (".png", {}),
        (".webp", {"lossless": True}),
        (".tif", {"compression": "tiff_deflate"}),
        (".tif", {}),  # which Pillow maps into memory
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_says_by_every_door(
    suffix: str, options: dict[str, Any], orientation: int, tmp_path: Path
) -> None:
    upright = Image.fromarray(noise(3, 4)).resize((64, 48), Image.Resampling.NEAREST)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the Pillow transposition that undoes the camera's
    stored = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    path = saved(stored, tmp_path / f"x{suffix}", exif=exif(orientation), **options)
    [pixels] = set(by_every_door(path))
    expected = np.asarray(upright.resize((40, 30), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(np.frombuffer(pixels, np.uint8).reshape(SIZE) - expected).max() <= 4  # JPEG's loss


def test_a_gray_png_is_turned_though_its_note_stands_behind_the_pixels(tmp_path: Path) -> None:
    path = saved(Image.fromarray(noise(48, 64)), tmp_path / "x.png")
    note = b"eXIf" + exif(TURNED).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(note) - 4) + note + struct.pack(">I", zlib.crc32(note))
    content = path.read_bytes()
    path.write_bytes(content[:-12] + chunk + content[-12:])
    assert to_gray(path, 8).size == (48, 64)
    assert len(set(by_every_door(path))) == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".gif", ".tif", ".ppm"])
def test_every_mode_and_format_gives_one_answer_by_every_door(suffix: str, mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(noise(48, 64, 4)).convert("RGB").convert(mode)
    try:
        path = saved(picture, tmp_path / f"x{suffix}")
    except (OSError, ValueError):
        pytest.skip(f"no {mode} in {suffix}")
    [pixels] = set(by_every_door(path))
    with Image.open(path) as image:
        expected = image.convert("L").resize((40, 30), Image.Resampling.BILINEAR)
    if mode not in ("RGBA", "LA"):
        assert pixels == expected.tobytes()


def transparent(suffix: str, tmp_path: Path) -> Path:
    """A bright square in noise that nobody should see: its transparent surroundings have colours."""
    pixels = noise(48, 64, 4)
    pixels[..., 3] = 0
    pixels[10:30, 20:40] = [200, 200, 200, 255]
    options: dict[str, Any] = {".webp": {"lossless": True}}.get(suffix, {})
    return saved(Image.fromarray(pixels), tmp_path / f"x{suffix}", **options)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_colours_under_transparent_pixels_are_not_seen(suffix: str, tmp_path: Path) -> None:
    path = transparent(suffix, tmp_path)
    expected = np.zeros((48, 64), dtype=np.uint8)
    expected[10:30, 20:40] = 200
    assert set(by_every_door(path)) == {to_pixels(expected, SIZE, 8).tobytes()}
    with Image.open(path) as image:
        assert np.array_equal(to_pixels(np.asarray(image), SIZE, 8), to_pixels(expected, SIZE, 8))


def test_a_transparent_gray_level_of_a_png_is_black(tmp_path: Path) -> None:
    pixels = noise(48, 64) // 2 + 100
    path = saved(Image.fromarray(pixels), tmp_path / "x.png", transparency=150)
    assert np.array_equal(np.asarray(to_gray(path, 8)), np.where(pixels == 150, 0, pixels))
    assert len(set(by_every_door(path))) == 1


def test_half_transparent_pixels_are_half_as_bright() -> None:
    pixels = np.full((4, 4, 4), [100, 100, 100, 51], dtype=np.uint8)
    assert set(np.asarray(to_gray(pixels, 8)).flat) == {20}


def test_a_black_cut_out_is_read_by_its_alpha(tmp_path: Path) -> None:
    distinct = set()
    for row in range(12):
        pixels = np.zeros((48, 64, 4), dtype=np.uint8)
        pixels[10 + row : 40, 20:40, 3] = 255
        path = saved(Image.fromarray(pixels), tmp_path / f"{row}.png")
        distinct |= set(by_every_door(path))
        assert np.array_equal(np.asarray(to_gray(path, 8)), pixels[..., 3])
    assert len(distinct) == 12


@pytest.mark.parametrize("alpha", [0, 255])
def test_a_picture_that_is_black_or_nothing_all_over_stays_black(alpha: int) -> None:
    pixels = np.full((4, 4, 4), [0, 0, 0, alpha], dtype=np.uint8)
    assert set(np.asarray(to_gray(pixels, 8)).flat) == {0}


GRAY = noise(48, 64)


@pytest.mark.parametrize(
    "array",
    [
        GRAY,
        GRAY[..., None],
        np.stack([GRAY] * 3, axis=-1),
        np.dstack([GRAY] * 3 + [np.full_like(GRAY, 255)]),
        GRAY / np.float32(255),
        (GRAY / 255)[..., None],
        np.stack([GRAY / 255] * 3, axis=-1),
        GRAY[::-1][::-1],
    ],
    ids=["gray", "one channel", "RGB", "RGBA", "float32", "float64, one channel", "float64 RGB", "not contiguous"],
)
def test_arrays_of_every_kind_give_the_pixels_of_the_file(array: Any, tmp_path: Path) -> None:
    path = saved(Image.fromarray(GRAY), tmp_path / "x.png")
    assert np.array_equal(to_pixels(array, SIZE, 8), to_pixels(path, SIZE, 8))


@pytest.mark.parametrize("depth", [10, 12, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_gray_loses_its_lowest_bits(suffix: str, depth: int, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 2**depth, (48, 64)).astype(np.uint16)
    path = saved(Image.fromarray(levels), tmp_path / f"x{suffix}")
    expected = (levels // 2 ** (depth - 8)).astype(np.uint8)
    doors: list[Any] = [path, path.read_bytes(), Image.open(path), Image.fromarray(levels), levels, levels[..., None]]
    for picture in doors:
        assert np.array_equal(np.asarray(to_gray(picture, depth)), expected)
    for picture in doors:
        with pytest.raises(BadImage, match="more than 8 bits a channel"):
            to_gray(picture, 8)


def test_eight_bit_images_are_the_same_at_any_depth(tmp_path: Path) -> None:
    path = saved(Image.fromarray(GRAY), tmp_path / "x.png")
    assert np.array_equal(to_pixels(path, SIZE, 12), to_pixels(path, SIZE, 8))


def test_gray_levels_that_need_more_bits_than_the_camera_has_are_bad() -> None:
    with pytest.raises(BadImage, match=r"from 0 to 4096 where data\.depth=12 allows 0 to 4095"):
        to_gray(np.array([[0, 4096]], dtype=np.uint16), 12)


def bomb(tmp_path: Path) -> Path:
    return saved(Image.new("1", (10_000, 10_000)), tmp_path / "bomb.png")


def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.png"
    path.touch()
    return path


def truncated(tmp_path: Path) -> Path:
    path = saved(Image.fromarray(noise(48, 64)), tmp_path / "x.png")
    path.write_bytes(path.read_bytes()[:1000])
    return path


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("made", "words"),
    [
        (bomb, "decompression bomb"),
        (lambda path: Image.open(bomb(path)), "decompression bomb"),
        (lambda path: bomb(path).read_bytes(), "decompression bomb"),
        (lambda path: np.zeros((10_000, 10_000), dtype=np.uint8), "decompression bomb"),
        (lambda path: np.zeros((10_000, 10_000), dtype=np.uint16), "decompression bomb"),
        (empty, "zero bytes"),
        (lambda path: b"", "zero bytes"),
        (lambda path: np.zeros((0, 0), dtype=np.uint8), "no pixels"),
        (lambda path: np.zeros((0, 5, 3)), "no pixels"),
        (lambda path: Image.new("L", (0, 7)), "no pixels"),
        (truncated, "truncated"),
        (lambda path: Image.open(truncated(path)), "truncated"),
        (lambda path: b"<svg/>", "not an image"),
        (lambda path: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (lambda path: Image.new("F", (4, 4)), "no whole numbers"),
    ],
)
def test_what_no_network_should_name_is_refused_by_every_door(
    made: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadImage, match=words):
        to_pixels(made(tmp_path), SIZE, 8)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_that_is_called_an_image_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.bmp")
    with pytest.raises(OSError, match="a pipe or a device"):
        to_pixels(tmp_path / "x.bmp", SIZE, 8)


@pytest.mark.parametrize(
    ("picture", "error", "words"),
    [
        (None, TypeError, "NoneType is no picture"),
        (7, TypeError, "int is no picture"),
        (io.StringIO("text"), TypeError, "StringIO is no picture"),
        ([GRAY], TypeError, "list is no picture"),
        (GRAY.astype(np.int64), TypeError, "not int64"),
        (GRAY > 7, TypeError, "not bool"),
        (np.zeros((4, 4, 3), dtype=np.uint16), TypeError, "not uint16"),
        (np.zeros(640, dtype=np.uint8), ValueError, r"not \[640\]"),
        (np.zeros((2, 4, 4, 3), dtype=np.uint8), ValueError, r"not \[2, 4, 4, 3\]"),
        (np.zeros((4, 4, 2), dtype=np.uint8), ValueError, r"not \[4, 4, 2\]"),
        (GRAY.astype(float), ValueError, "from 0 to 1"),
        (np.full((4, 4), np.nan), ValueError, "from 0 to 1"),
    ],
)
def test_what_is_no_picture_is_told_in_a_sentence(picture: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        to_pixels(picture, SIZE, 8)


def test_the_callers_picture_is_left_as_it_was(tmp_path: Path) -> None:
    path = saved(Image.fromarray(noise(48, 64, 3)), tmp_path / "x.jpg", exif=exif(TURNED))
    with Image.open(path) as image:
        to_pixels(image, SIZE, 8)
        assert (image.size, image.mode, image.getexif()[0x0112]) == ((64, 48), "RGB", TURNED)


def test_a_missing_file_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        to_pixels(tmp_path / "nothing.png", SIZE, 8)
