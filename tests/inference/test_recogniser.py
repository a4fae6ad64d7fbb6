"""A recogniser: the run's own figures, any kind of picture, several threads, and clear refusals."""

import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gesture
from conftest import call
from gesture import predict, train
from gesture.config.compose import compose
from gesture.config.refusals import ConfigError
from gesture.data.decode import BadImage
from gesture.data.prepare import prepare
from gesture.inference.recogniser import Recogniser
from gesture.model import checkpoint, hardware
from gesture.model.hardware import Hardware
from gesture.model.network import GestureNetwork
from gesture.runs import predictions
from gesture.runs.directory import RunDirectory

CPU = Hardware("cpu", "32-true", channels_last=True, compile=False, graphs=False)
DEPTH = 12
EVALUATION_BATCH = 32
"""Twice the training batch of `tiny`."""

needs_bf16 = pytest.mark.skipif(
    not hardware.computes_in("cpu", "bf16-mixed"), reason="this processor does not multiply bf16"
)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    """Of random weights: it names every picture the same way by every door, if wrongly."""
    torch.manual_seed(0)
    return Recogniser(GestureNetwork("shufflenet_v2_x0_5", 3), ("fist", "ok", "palm"), (32, 64), DEPTH, CPU)


@pytest.fixture(scope="module")
def bf16_run(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bf16") / "run"
    words = ["split=subject", "optimizer.lr=1e-3", "trainer.precision=bf16-mixed", f"hydra.run.dir={directory}"]
    assert call(train.main, *tiny, *words) == 0
    return directory


def disagreeing(run: Path, recogniser: Recogniser, root: Path) -> list[str]:
    """The images of predictions.csv to which the recogniser gives other probabilities, to the last bit."""
    found: list[str] = []
    for part in ("val", "test"):
        recorded = predictions.read(run / "predictions.csv").of(part)
        named = recogniser.predict([root / path for path in recorded.paths], batch_size=EVALUATION_BATCH)
        given = np.array([list(each.probabilities.values()) for each in named], dtype=np.float32)
        differs = (given != recorded.probabilities).any(axis=1)
        found += [path for path, other in zip(recorded.paths, differs, strict=True) if other]
    return found


def test_probabilities_are_the_runs_to_the_last_digit(run_dir: Path, rendered: Path) -> None:
    recogniser = gesture.load(run_dir, "cpu")
    assert recogniser.hardware.precision == "32-true"
    assert disagreeing(run_dir, recogniser, rendered) == []


@needs_bf16
def test_a_run_in_bf16_is_used_in_bf16_to_the_last_digit(bf16_run: Path, rendered: Path, tmp_path: Path) -> None:
    assert disagreeing(bf16_run, gesture.load(bf16_run, "cpu"), rendered) == []
    alone = shutil.copy(bf16_run / "checkpoints/best.ckpt", tmp_path / "alone.ckpt")
    assert disagreeing(bf16_run, gesture.load(alone, "cpu"), rendered) == []
    in_float32 = gesture.load(bf16_run, "cpu")
    in_float32.hardware = dataclasses.replace(in_float32.hardware, precision="32-true")
    assert len(disagreeing(bf16_run, in_float32, rendered)) > 10


@needs_bf16
def test_the_command_gives_a_bf16_runs_probabilities_to_the_last_digit(
    bf16_run: Path, rendered: Path, tmp_path: Path
) -> None:
    recorded = predictions.read(bf16_run / "predictions.csv").of("test")
    [person] = {path.split("/")[0] for path in recorded.paths}
    words = [f"input={rendered / person}", f"output={tmp_path / 'p.jsonl'}", f"batch_size={EVALUATION_BATCH}"]
    assert call(predict.main, f"run={bf16_run}", *words, "accelerator=cpu") == 0
    named = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["path"] for line in named] == [str(rendered / path) for path in recorded.paths]
    given = np.array([list(line["probabilities"].values()) for line in named], dtype=np.float32)
    assert np.array_equal(given, recorded.probabilities)


@needs_bf16
def test_checkpoints_of_earlier_versions_compute_as_their_result_says(
    bf16_run: Path, rendered: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(bf16_run, tmp_path / "run")
    path = run / "checkpoints/best.ckpt"
    content = checkpoint.read(path)
    del content["gesture"]["hardware"]
    content["gesture"]["format"] = 1
    checkpoint.write(content, path)
    assert disagreeing(run, gesture.load(run, "cpu"), rendered) == []
    alone = shutil.copy(path, tmp_path / "alone.ckpt")
    assert gesture.load(alone, "cpu").hardware.precision == "32-true"


def test_the_references_checkpoint_gives_the_runs_probabilities(
    tiny: list[str], rendered: Path, tmp_path: Path
) -> None:
    words = [word for word in tiny if not word.startswith("backbone")]
    assert call(train.main, "experiment=reference_resnet18", *words, f"hydra.run.dir={tmp_path}") == 0
    recogniser = gesture.load(tmp_path / "checkpoints/best.ckpt", "cpu")
    assert disagreeing(tmp_path, recogniser, rendered) == []


def test_a_checkpoint_alone_suffices(run_dir: Path, rendered: Path, tmp_path: Path) -> None:
    alone = shutil.copy(run_dir / "checkpoints/best.ckpt", tmp_path / "alone.ckpt")
    image = rendered / "00/01_palm/frame_00_01_0001.png"
    assert gesture.load(alone, "cpu").predict([image]) == gesture.load(run_dir, "cpu").predict([image])


def test_loading_draws_from_nobodys_random_numbers(run_dir: Path) -> None:
    state = torch.get_rng_state()
    gesture.load(run_dir, "cpu")
    assert torch.equal(torch.get_rng_state(), state)


def kinds_of_pictures(folder: Path) -> None:
    """Files of many kinds, each with other pixels."""
    folder.mkdir(parents=True)
    levels = np.random.default_rng(len(folder.name)).integers(0, 256, (48, 80, 4), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    gray, colour, cut_out = (Image.fromarray(levels[..., kept]) for kept in (0, slice(3), slice(4)))
    gray.save(folder / "gray.png")
    gray.save(folder / "turned.png", exif=turned)
    gray.save(folder / "gray.bmp")
    colour.save(folder / "colour.png")
    colour.save(folder / "turned.jpg", exif=turned)
    colour.save(folder / "colour.webp", lossless=True)
    colour.quantize(16).save(folder / "palette.png")
    cut_out.save(folder / "cut_out.png")
    cut_out.save(folder / "cut_out.webp", lossless=True)
    gray.convert("1").save(folder / "one_bit.png")
    Image.fromarray(levels[..., 0].astype(np.uint16) * 16).save(folder / "deep.png")


def test_every_kind_of_picture_gives_the_pixels_that_training_sees(recogniser: Recogniser, tmp_path: Path) -> None:
    for name in ("fist", "palm"):
        kinds_of_pictures(tmp_path / "images" / name)
    words = ["data=folder", f"data.root={tmp_path / 'images'}", f"data.cache_dir={tmp_path / 'cache'}"]
    config = compose("train", [*words, "data.image_size=[32,64]", f"data.depth={DEPTH}", "split=random"])
    data = prepare(config.data, config.split)
    assert len(data.samples) == 22
    for name, expected in zip(data.samples.paths, data.images, strict=True):
        path = tmp_path / "images" / name
        with path.open("rb") as file, Image.open(path) as image:
            doors: list[Any] = [path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), file, image]
            for door in doors:
                assert np.array_equal(recogniser.prepare(door), expected), (name, type(door))


def test_files_arrays_and_tensors_of_one_picture_give_the_same_prediction(
    recogniser: Recogniser, tmp_path: Path
) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (48, 80), dtype=np.uint8)
    opaque = np.full_like(gray, 255)
    Image.fromarray(gray).save(tmp_path / "x.png")
    tensor = torch.from_numpy(gray)
    pictures: list[Any] = [
        tmp_path / "x.png",
        gray,
        gray[..., None],
        np.stack([gray] * 3, axis=2),
        np.stack([gray] * 3 + [opaque], axis=2),
        gray / 255,
        (gray / 255).astype(np.float32)[..., None],
        gray.astype(np.uint16) * 16,
        tensor,
        tensor[None],
        tensor.expand(3, -1, -1),
        torch.stack([tensor] * 3 + [torch.from_numpy(opaque)]),
        tensor.float() / 255,
        (tensor.double() / 255).requires_grad_(),
        (tensor[None].float() / 255).expand(3, -1, -1),
        torch.from_numpy(gray.astype(np.uint16) * 16),
    ]
    first, *others = recogniser.predict(pictures)
    assert all(other == first for other in others)
    assert sum(first.probabilities.values()) == pytest.approx(1)
    assert first.probability == max(first.probabilities.values()) == first.probabilities[first.gesture]
    assert recogniser.predict([]) == []


@pytest.mark.parametrize("picture", ["x.png", Path("x.png"), b"bytes", np.zeros((4, 4), np.uint8), torch.zeros(4, 4)])
def test_one_picture_alone_is_refused(picture: Any, recogniser: Recogniser) -> None:
    with pytest.raises(TypeError, match=r"give a list, \[picture\] for one"):
        recogniser.predict(picture)


@pytest.mark.parametrize("opened", [io.BytesIO(b"x"), Image.new("L", (4, 4))])
def test_one_opened_picture_alone_is_refused(opened: Any, recogniser: Recogniser) -> None:
    with pytest.raises(TypeError, match=r"give a list, \[picture\] for one"):
        recogniser.predict(opened)


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        (None, TypeError),
        (3, TypeError),
        (io.StringIO("text"), TypeError),
        (np.zeros((4, 4), np.int64), TypeError),
        (torch.zeros(4, 4, dtype=torch.int64), TypeError),
        (np.zeros((4, 4), np.complex64), TypeError),
        (np.zeros(4, np.uint8), ValueError),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError),
        (np.zeros((4, 4, 2), np.uint8), ValueError),
        (np.full((4, 4), 2.0), ValueError),
        (np.full((4, 4), np.nan), ValueError),
        (torch.zeros(5, 5, 3), ValueError),
        (torch.zeros(2, 1, 4, 4), ValueError),
        (torch.full((4, 4), -1.0), ValueError),
        (np.zeros((0, 0), np.uint8), BadImage),
        (b"", BadImage),
        (b"no image", BadImage),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(
    picture: Any, error: type[Exception], recogniser: Recogniser
) -> None:
    with pytest.raises(error) as refusal:
        recogniser.predict([picture])
    assert 5 < len(str(refusal.value)) < 200
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("pictures", [None, 3, object()])
def test_what_is_no_list_is_refused(pictures: Any, recogniser: Recogniser) -> None:
    with pytest.raises(TypeError, match=r"predict takes several pictures, not \w+: give a list"):
        recogniser.predict(pictures)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_no_batch_is_smaller_than_one(batch_size: int, recogniser: Recogniser) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        recogniser.predict([np.zeros((4, 4), np.uint8)], batch_size=batch_size)


def test_a_bad_image_among_many_is_named(recogniser: Recogniser, tmp_path: Path) -> None:
    good = np.zeros((4, 4), np.uint8)
    with pytest.raises(BadImage, match="picture 2: zero bytes"):
        recogniser.predict([good, good, b""], batch_size=2)
    (tmp_path / "x.png").touch()
    with pytest.raises(BadImage, match=r"x\.png': zero bytes"):
        recogniser.predict([good, tmp_path / "x.png"])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        recogniser.predict([tmp_path / "nowhere.png"])


def test_pictures_may_come_one_by_one_and_are_named_in_their_order(recogniser: Recogniser) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (7, 40, 60), dtype=np.uint8)
    by_threes = recogniser.predict((picture for picture in levels), batch_size=3)
    assert [prediction.gesture for prediction in by_threes] == [
        recogniser.predict([picture])[0].gesture for picture in levels
    ]


def test_threads_share_a_recogniser(bf16_run: Path, rendered: Path) -> None:
    recogniser = gesture.load(bf16_run, "cpu")
    paths = sorted(rendered.rglob("*.png"))
    jobs = [paths[start : start + 4] for start in range(0, 40, 4)] * 4
    alone = [recogniser.predict(job) for job in jobs]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(recogniser.predict, jobs)) == alone


def test_threads_refuse_bombs_and_read_good_pictures_side_by_side(recogniser: Recogniser) -> None:
    bomb = Image.new("1", (12_000, 12_000))
    good = np.zeros((4, 4), np.uint8)

    def answer(picture: Any) -> str:
        try:
            return recogniser.predict([picture])[0].gesture
        except BadImage as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(answer, [bomb, good] * 20))
    assert len(set(answers[::2])) == len(set(answers[1::2])) == 1
    assert "too many pixels" in answers[0]


def test_weights_that_are_numbers_but_give_none_are_refused() -> None:
    network = GestureNetwork("shufflenet_v2_x0_5", 3)
    for parameter in network.head.parameters():
        torch.nn.init.constant_(parameter, 1e38)
    diverged = Recogniser(network, ("fist", "ok", "palm"), (32, 64), 8, CPU)
    with pytest.raises(ConfigError, match="its training diverged"):
        diverged.predict([np.full((4, 4), 255, np.uint8)])


def test_a_run_of_another_accelerator_is_used_on_mps_with_a_stand_in_for_it(
    run_dir: Path, rendered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(Hardware, "device", torch.device("cpu"))
    recogniser = gesture.load(run_dir)
    assert (recogniser.hardware.name, recogniser.hardware.channels_last) == ("mps", False)
    assert len(recogniser.predict([rendered / "00/01_palm/frame_00_01_0001.png"])) == 1


def an_empty_file(path: Path) -> None:
    path.write_bytes(b"")


def half_a_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_weights(path: Path) -> None:
    content = checkpoint.read(path)
    content["gesture"]["config"]["backbone"]["name"] = "resnet18"
    checkpoint.write(content, path)


@pytest.mark.parametrize("damage", [an_empty_file, half_a_file, other_weights])
def test_a_damaged_checkpoint_is_named(damage: Callable[[Path], None], run_dir: Path, tmp_path: Path) -> None:
    run = RunDirectory(Path(shutil.copytree(run_dir, tmp_path / "run")))
    damage(run.best_checkpoint)
    with pytest.raises(ConfigError, match=str(run.best_checkpoint)) as refusal:
        gesture.load(run.path)
    assert "\n" not in str(refusal.value)


def test_loading_from_python_raises_what_the_command_would_print() -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        gesture.load("nowhere")
    with pytest.raises(ConfigError, match="is no checkpoint"):
        gesture.load(__file__)


def test_an_absent_accelerator_is_refused(run_dir: Path) -> None:
    assert json.loads((run_dir / "result.json").read_text())["device"]["accelerator"] == "cpu"
    with pytest.raises(ConfigError, match="accelerator=tpu is not present"):
        gesture.load(run_dir, "tpu")
