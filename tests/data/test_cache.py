"""The cache: torchvision's very pixels, rebuilt when a file changed and only then, safe for two at once; bad images."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Grayscale, Resize, ToTensor

from conftest import SHARED, images_of, needs_shared
from gesture.config.compose import compose
from gesture.config.refusals import ConfigError
from gesture.config.schema import DataConfig, RandomSplit, TrainConfig
from gesture.data import cache as cache_module
from gesture.data.cache import Cache, open_cache
from gesture.data.decode import decode
from gesture.data.decoded import Index
from gesture.data.files import Folder
from gesture.data.locks import exclusive
from gesture.data.prepare import prepare
from gesture.data.samples import Samples, every_nth_frame
from gesture.data.sources import folder, leapgestrecog

SIZE = [32, 40]


@pytest.fixture
def images(rendered: Path, tmp_path: Path) -> Path:
    """A few images that a test may change."""
    root = tmp_path / "images"
    for gesture in ("01_palm", "02_l"):
        shutil.copytree(rendered / "00" / gesture, root / "00" / gesture)
    return root


def load(root: Path) -> Samples:
    return leapgestrecog.read(root)


def builds(root: Path, cache_dir: Path) -> tuple[Cache, bool]:
    """The cache, and whether it was built for this call."""
    samples = load(root)
    before = sorted((path, path.stat().st_ino) for path in cache_dir.rglob("*.npy"))
    cache = open_cache(samples, SIZE, cache_dir)
    return cache, before != sorted((path, path.stat().st_ino) for path in cache_dir.rglob("*.npy"))


def assert_equals_torchvision(samples: Samples, cache: Cache, size: list[int]) -> None:
    transform = torch.nn.Sequential(Grayscale(), Resize(tuple(size)))
    for row, pixels in zip(cache.rows, cache.images, strict=True):
        with Image.open(samples.files.root / samples.paths[row]) as image:
            expected = ToTensor()(transform(image))
        assert torch.equal(torch.from_numpy(pixels).float().unsqueeze(0) / 255, expected), samples.paths[row]


@needs_shared
@pytest.mark.parametrize("name", ["leapgestrecog", "sign-language-digits"])
def test_real_cached_pixels_equal_torchvisions_bit_for_bit(name: str, tmp_path: Path) -> None:
    root = SHARED / name
    samples = load(root) if name == "leapgestrecog" else folder.load(images_of("folder", root))
    samples = samples.take(np.arange(0, len(samples), 4))
    assert_equals_torchvision(samples, open_cache(samples, [224, 224], tmp_path), [224, 224])


def test_rendered_cached_pixels_equal_torchvisions_bit_for_bit(images: Path, tmp_path: Path) -> None:
    assert_equals_torchvision(load(images), open_cache(load(images), SIZE, tmp_path), SIZE)


def test_colour_palette_and_transparent_images_become_gray(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    for mode in ("RGB", "RGBA", "P", "L", "1"):
        path = tmp_path / "tree" / mode / "image.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(pixels).convert(mode).save(path)
    Image.fromarray(pixels).save(tmp_path / "tree" / "RGB" / "image.webp", lossless=True)
    samples = folder.load(images_of("folder", tmp_path / "tree"))
    assert_equals_torchvision(samples, open_cache(samples, SIZE, tmp_path / "cache"), SIZE)


def test_the_cache_is_built_once(images: Path, tmp_path: Path) -> None:
    _, first = builds(images, tmp_path / "cache")
    _, second = builds(images, tmp_path / "cache")
    assert (first, second) == (True, False)


def test_the_cache_survives_touched_and_copied_files(images: Path, tmp_path: Path) -> None:
    builds(images, tmp_path / "cache")
    path = images / "00/01_palm/frame_00_01_0002.png"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    cache, built = builds(images, tmp_path / "cache")
    assert not built
    assert len(cache.images) == 10


def test_a_changed_file_rebuilds_the_cache_even_with_its_old_size_and_time(images: Path, tmp_path: Path) -> None:
    old, _ = builds(images, tmp_path / "cache")
    path = images / "00/01_palm/frame_00_01_0002.png"
    stat = path.stat()
    with Image.open(path) as image:
        Image.eval(image, lambda value: 255 - value).save(path, compress_level=0)
    path.write_bytes(path.read_bytes().ljust(stat.st_size, b"\0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new, built = builds(images, tmp_path / "cache")
    assert built
    assert not np.array_equal(new.images[1], old.images[1])
    assert new.fingerprint != old.fingerprint
    assert np.array_equal(new.images[2], old.images[2])


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_several_processes_build_the_cache_that_one_builds(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    spoil(images)
    root = images if kind == "folder" else Path(shutil.make_archive(str(tmp_path / "images"), "zip", images))
    one = open_cache(load(root), SIZE, tmp_path / "one")
    monkeypatch.setattr(cache_module, "IMAGES_WORTH_A_PROCESS", 3)
    monkeypatch.setattr(cache_module, "IMAGES_AT_A_TIME", 2)
    monkeypatch.setattr(cache_module, "cores", lambda: 2)
    several = open_cache(load(root), SIZE, tmp_path / "several")
    assert np.array_equal(one.images, several.images)
    assert np.array_equal(one.rows, several.rows)
    assert np.array_equal(one.copies, several.copies)
    assert (one.bad, one.fingerprint) == (several.bad, several.fingerprint)
    assert len(one.bad) == 7


def test_a_new_and_a_removed_file_change_the_cache(images: Path, tmp_path: Path) -> None:
    builds(images, tmp_path / "cache")
    (images / "00/01_palm/frame_00_01_0002.png").rename(images / "00/01_palm/frame_00_01_0009.png")
    cache, built = builds(images, tmp_path / "cache")
    assert built
    assert len(cache.images) == 10


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 2}', b"null", None])
def test_a_damaged_cache_is_built_again(images: Path, tmp_path: Path, damage: bytes | None) -> None:
    builds(images, tmp_path / "cache")
    [array], [index] = (list((tmp_path / "cache").rglob(name)) for name in ("*.npy", "*.json"))
    if damage is None:
        array.write_bytes(array.read_bytes()[:-1000])
    else:
        index.write_bytes(damage)
    cache, built = builds(images, tmp_path / "cache")
    assert built
    assert_equals_torchvision(load(images), cache, SIZE)


@pytest.mark.parametrize("change", [{"rows": [0]}, {"paths": []}, {"images": "gone.npy"}, {"size": 3}, {"more": 1}])
def test_an_index_that_does_not_fit_is_built_again(images: Path, tmp_path: Path, change: dict[str, object]) -> None:
    builds(images, tmp_path / "cache")
    [index] = (tmp_path / "cache").rglob("index.json")
    index.write_text(json.dumps(json.loads(index.read_text()) | change))
    cache, built = builds(images, tmp_path / "cache")
    assert built
    assert_equals_torchvision(load(images), cache, SIZE)


def test_a_file_where_the_cache_should_be_is_refused_in_a_sentence(images: Path, tmp_path: Path) -> None:
    builds(images, tmp_path / "cache")
    [index] = (tmp_path / "cache").rglob("index.json")
    shutil.rmtree(index.parent)
    index.parent.write_text("a file")
    with pytest.raises(ConfigError, match=r"data.cache_dir .* cannot be written to \(File exists\)"):
        builds(images, tmp_path / "cache")


def decoded_files(samples: Samples, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> set[str]:
    """The files that opening a cache decodes."""
    found: list[str] = []

    def noted(content: bytes, depth: int) -> Image.Image:
        image = decode(content, depth)
        found.append(hashlib.sha256(content).hexdigest())
        return image

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "decode", noted)
        size = options.pop("size", SIZE)
        assert_equals_torchvision(samples, open_cache(samples, size, cache_dir, **options), size)
    names = {hashlib.sha256(samples.files.read(path)).hexdigest(): path for path in samples.paths}
    return {names[digest] for digest in found}


def test_only_a_new_or_changed_image_is_decoded(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(decoded_files(load(images), tmp_path / "cache", monkeypatch)) == 10
    first, second = (images / f"00/01_palm/frame_00_01_000{number}.png" for number in (1, 2))
    Image.eval(Image.open(first), lambda value: 255 - value).save(images / "00/01_palm/frame_00_01_0009.png")
    assert decoded_files(load(images), tmp_path / "cache", monkeypatch) == {"00/01_palm/frame_00_01_0009.png"}
    Image.eval(Image.open(second), lambda value: value // 2).save(second)
    assert decoded_files(load(images), tmp_path / "cache", monkeypatch) == {"00/01_palm/frame_00_01_0002.png"}
    first.unlink()
    assert decoded_files(load(images), tmp_path / "cache", monkeypatch) == set()


def test_another_stride_and_another_place_decode_nothing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded_files(load(images), tmp_path / "cache", monkeypatch)
    assert decoded_files(every_nth_frame(load(images), 2), tmp_path / "cache", monkeypatch) == set()
    moved = shutil.copytree(images, tmp_path / "elsewhere")
    assert decoded_files(load(moved), tmp_path / "cache", monkeypatch) == set()
    assert len(decoded_files(load(moved), tmp_path / "cache", monkeypatch, size=[32, 32])) == 10


def test_bad_images_are_known_again_with_their_reasons(images: Path, tmp_path: Path) -> None:
    expected = spoil(images)
    bad = open_cache(load(images), SIZE, tmp_path / "cache").bad
    (images / "00/02_l/frame_00_02_0005.png").unlink()
    assert open_cache(load(images), SIZE, tmp_path / "cache").bad == bad
    assert all(words in bad[path] for path, words in expected.items())


def sets(cache_dir: Path) -> set[Path]:
    return {path.parent for path in cache_dir.rglob("index.json")}


def opened(images: Path, cache_dir: Path, size: list[int], limit: float) -> tuple[Path, Cache]:
    """A cache of another size and its folder."""
    before = sets(cache_dir)
    cache = open_cache(load(images), size, cache_dir, limit_gb=limit)
    [new] = sets(cache_dir) - before
    return new, cache


def test_the_sets_used_longest_ago_make_room_but_none_in_use(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for age, height in ((3, 32), (2, 33), (1, 34)):
        folder, cache = opened(images, tmp_path / "cache", [height, 40], limit=1)
        os.utime(folder / "index.json", (age, -age * 1000 + 1e9))
        if height == 32:
            oldest, used = folder, cache
        del cache
    newest = folder
    with caplog.at_level("INFO"):
        last = opened(images, tmp_path / "cache", [35, 40], limit=60e3 / 1e9)[0]
    assert sets(tmp_path / "cache") == {oldest, newest, last}
    assert "used longest ago" in caplog.text
    del used
    opened(images, tmp_path / "cache", [36, 40], limit=1e-9)
    assert len(sets(tmp_path / "cache")) == 1


USES_IT = """
import sys
from pathlib import Path
from gesture.data.cache import open_cache
from gesture.data.sources.leapgestrecog import read

cache = open_cache(read(Path(sys.argv[1])), [32, 40], Path(sys.argv[2]))
print("opened", flush=True)
sys.stdin.read()
"""


def test_what_another_process_uses_stays_until_it_ends_however_it_ends(images: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", USES_IT, str(images), str(tmp_path / "cache")]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    [used] = sets(tmp_path / "cache")
    opened(images, tmp_path / "cache", [33, 40], limit=1e-9)
    assert used in sets(tmp_path / "cache")
    process.kill()
    process.communicate()
    opened(images, tmp_path / "cache", [34, 40], limit=1e-9)
    assert used not in sets(tmp_path / "cache")


def test_a_run_says_for_whom_it_waits(images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    builds(images, tmp_path / "cache")
    [folder] = sets(tmp_path / "cache")
    with caplog.at_level("INFO"), ThreadPoolExecutor() as pool:
        with exclusive(folder.with_suffix(".lock"), "decoding images"):
            waiting = pool.submit(builds, images, tmp_path / "cache")
            while "waiting for" not in caplog.text:
                assert not waiting.done()
        waiting.result()
    [record] = [record for record in caplog.records if "waiting" in record.getMessage()]
    assert record.getMessage() == (
        f"waiting for process {os.getpid()} on {socket.gethostname()}, which is decoding images "
        f"({folder.with_suffix('.lock')})"
    )


DECODES = """
import sys
from pathlib import Path
import numpy as np
from gesture.data import cache
from gesture.data.sources.leapgestrecog import read
from gesture.process import raised_at_once

cache.cores = lambda: 3
samples = read(Path(sys.argv[1]))
with raised_at_once():
    cache.open_cache(samples.take(np.resize(np.arange(len(samples)), 20_000)), [224, 224], Path(sys.argv[2]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in Linux's /proc")
@pytest.mark.parametrize(
    ("whom", "signum", "words"),
    [
        ("a worker", signal.SIGKILL, b"WorkerLost: A worker process was killed by SIGKILL"),
        ("the group", signal.SIGTERM, b"Interrupted: stopped by SIGTERM"),
        ("the group", signal.SIGINT, b"Interrupted: stopped by SIGINT"),
    ],
)
def test_decoding_ends_with_a_killed_worker_and_with_signals_and_leaves_nobody_behind(
    whom: str, signum: signal.Signals, words: bytes, images: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", DECODES, str(images), str(tmp_path / "cache")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    while not list(tmp_path.rglob("images-*.npy")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)  # the workers start
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 3
    if whom == "a worker":
        os.kill(workers[1], signum)
    else:
        os.killpg(process.pid, signum)
    _, said = process.communicate(timeout=30)  # returns when the last process that holds the pipes is gone
    assert words in said
    assert not list(tmp_path.rglob("images-*"))


def test_a_killed_build_leaves_nothing_that_is_taken_for_a_cache(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Index, "write", power_cut)
        with pytest.raises(KeyboardInterrupt):
            open_cache(load(images), SIZE, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))
    cache, built = builds(images, tmp_path / "cache")
    assert built
    assert_equals_torchvision(load(images), cache, SIZE)


def test_a_full_disk_is_refused_before_it_is_written_to(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(ConfigError, match="has 100 bytes free and needs 13 kB"):
        open_cache(load(images), SIZE, tmp_path / "cache")


def _open_in_process(root: Path, cache_dir: Path, barrier: object, answers: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    cache = open_cache(load(root), SIZE, cache_dir)
    answers.put((cache.fingerprint, int(cache.images.astype(np.int64).sum())))  # type: ignore[attr-defined]


def test_two_runs_that_start_at_once_get_the_same_whole_cache(images: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    runs = [
        context.Process(target=_open_in_process, args=(images, tmp_path / "cache", barrier, answers)) for _ in range(2)
    ]
    for run in runs:
        run.start()
    found = [answers.get(timeout=60) for _ in runs]
    for run in runs:
        run.join()
    cache, built = builds(images, tmp_path / "cache")
    assert not built
    assert found == [(cache.fingerprint, int(cache.images.astype(np.int64).sum()))] * 2


def test_writing_to_an_image_in_memory_leaves_the_file_alone(images: Path, tmp_path: Path) -> None:
    cache, _ = builds(images, tmp_path / "cache")
    before = cache.images[0].copy()
    cache.images[0] = 7
    again, _ = builds(images, tmp_path / "cache")
    assert np.array_equal(again.images[0], before)


def test_images_of_the_same_pixels_are_copies_however_they_were_saved(images: Path, tmp_path: Path) -> None:
    first = images / "00/01_palm/frame_00_01_0001.png"
    with Image.open(first) as image:
        image.save(images / "00/02_l/frame_00_02_0001.png", compress_level=9)
    cache, _ = builds(images, tmp_path / "cache")
    assert cache.copies[5] == cache.copies[0]
    assert cache.copies[4] != cache.copies[0]


@needs_shared
def test_the_real_copies_are_those_of_the_manifest(tmp_path: Path) -> None:
    samples = load(SHARED / "leapgestrecog")
    lines = (SHARED / "leapgestrecog-manifest.csv").read_text().splitlines()[1:]
    digest_of = {path: digest for path, _, digest in (line.split(",") for line in lines)}
    digests = [digest_of[path] for path in samples.paths]
    copies = open_cache(samples, [32, 32], tmp_path).copies
    assert len(samples) > len(set(digests)) == len(np.unique(copies)) == len(set(zip(digests, copies, strict=True)))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png_header(width: int, height: int) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(b"\0" * 100)) + _chunk(b"IEND", b"")


def spoil(root: Path) -> dict[str, str]:
    """Make images bad in every way, and the words that say how."""
    good = (root / "00/01_palm/frame_00_01_0001.png").read_bytes()
    deep = Image.fromarray(np.zeros((8, 8), dtype=np.uint16))
    deep.save(root / "00/01_palm/frame_00_01_0005.png")
    contents = {
        "00/01_palm/frame_00_01_0002.png": (b"", "zero bytes"),
        "00/01_palm/frame_00_01_0003.png": (good[: len(good) // 2], "truncated"),
        "00/01_palm/frame_00_01_0004.png": (b"<html>no image</html>", "not an image"),
        "00/02_l/frame_00_02_0001.png": (_png_header(60_000, 60_000), "decompression bomb"),
        "00/02_l/frame_00_02_0002.png": (_png_header(10_000, 10_000), "decompression bomb"),
        "00/02_l/frame_00_02_0003.png": (good[:200] + b"\xff" * 50 + good[250:], ""),
    }
    for path, (content, _) in contents.items():
        (root / path).write_bytes(content)
    return {path: words for path, (_, words) in contents.items()} | {
        "00/01_palm/frame_00_01_0005.png": "more than 8 bits a channel"
    }


def data_config(root: Path, cache_dir: Path, on_bad_image: str) -> DataConfig:
    places = [f"data.root={root}", f"data.cache_dir={cache_dir}", f"data.on_bad_image={on_bad_image}"]
    config: TrainConfig = compose("train", [*places, f"data.image_size={SIZE}"])
    return config.data


SPLIT = RandomSplit("random", 0, True, val_fraction=0.34, test_fraction=0.34)


def test_all_bad_images_are_named_in_one_error(images: Path, tmp_path: Path) -> None:
    expected = spoil(images)
    for _ in range(2):  # from the images, then from what the cache remembers
        with pytest.raises(ConfigError) as refusal:
            prepare(data_config(images, tmp_path / "cache", "error"), SPLIT)
        sentence = str(refusal.value)
        assert sentence.startswith("7 images cannot be decoded: ")
        assert "data.on_bad_image=skip" in sentence
        for path, words in expected.items():
            assert path in sentence
            assert words in sentence


def test_bad_images_are_left_out_and_counted_when_asked(images: Path, tmp_path: Path) -> None:
    bad = spoil(images)
    data = prepare(data_config(images, tmp_path / "cache", "skip"), SPLIT)
    assert data.describe()["bad_images"] == 7
    assert data.describe()["images"] == len(data.images) == 3
    assert not set(bad) & set(data.samples.paths)
    with Image.open(images / data.samples.paths[1]) as image:
        assert np.array_equal(data.images[1], np.asarray(image.resize((40, 32), Image.Resampling.BILINEAR)))


def test_a_mended_image_is_used_again(images: Path, tmp_path: Path) -> None:
    path = images / "00/01_palm/frame_00_01_0002.png"
    content = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(ConfigError):
        prepare(data_config(images, tmp_path / "cache", "error"), SPLIT)
    path.write_bytes(content)
    assert len(prepare(data_config(images, tmp_path / "cache", "error"), SPLIT).images) == 10


def test_long_lists_of_bad_images_show_twenty_and_the_count(tmp_path: Path) -> None:
    for number in range(1, 31):
        path = tmp_path / f"tree/00/0{number % 2 + 1}_x/frame_00_01_{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(ConfigError) as refusal:
        prepare(data_config(tmp_path / "tree", tmp_path / "cache", "error"), SPLIT)
    assert str(refusal.value).count("zero bytes") == 20
    assert "and 10 more" in str(refusal.value)


def test_a_file_that_vanishes_while_it_is_read_is_bad_not_fatal(images: Path, tmp_path: Path) -> None:
    class Vanishing(Folder):
        def read(self, path: str) -> bytes:
            if path.endswith("0003.png"):
                raise FileNotFoundError("gone")
            return super().read(path)

    samples = load(images)
    object.__setattr__(samples, "files", Vanishing(images))
    assert len(open_cache(samples, SIZE, tmp_path / "cache").bad) == 2


@pytest.mark.parametrize("place", ["cache_dir", "root"])
def test_a_place_that_cannot_be_written_to_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = {"root": str(tmp_path / "root"), "cache_dir": str(tmp_path / "cache"), place: str(tmp_path / "file" / "x")}
    words = [f"data.{key}={path}" for key, path in places.items()]
    config: TrainConfig = compose("train", ["data=synthetic", "data.subjects=3", "data.frames=1", *words])
    with pytest.raises(ConfigError, match=rf"data.{place} .* cannot be written to"):
        prepare(config.data, SPLIT)
