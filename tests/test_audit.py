"""`gesture audit`: finds what was planted, says what crosses, and what a lookup names."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import SHARED, call, needs_shared
from gesture import audit, train
from gesture.runs import predictions
from gesture.synthetic.dataset import render_dataset

PLANTED, FRAMES = 20, 12
Number = np.random.Generator


def noisy(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image) + rng.normal(0, 6, (image.height, image.width))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def brighter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.point(lambda level: min(255, level * 1.1))


def shifted(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(np.roll(np.asarray(image), rng.integers(1, 3, 2), (0, 1)))


def compressed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    page = io.BytesIO()
    image.save(page, "JPEG", quality=60)
    return Image.open(page).convert("L")


ALTERED: list[Callable[[Image.Image, np.random.Generator], Image.Image]] = [noisy, brighter, shifted, compressed]


class Planted:
    """Rendered people with a copy, wrong labels and near copies of one person under another's name."""

    def __init__(self, root: Path) -> None:
        self.root = render_dataset(root, subjects=3, frames=FRAMES, seed=0, workers=2)
        rng = np.random.default_rng(1)
        files = sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.png"))
        self.gestures = sorted({path.split("/")[1] for path in files})
        drawn = [files[i] for i in rng.choice(len(files), 2 * PLANTED + 1, replace=False)]
        self.wrong, self.near = set(), {}
        for i, path in enumerate(drawn[:PLANTED]):
            person, gesture, _ = path.split("/")
            other = rng.choice([one for one in self.gestures if one != gesture])
            (self.root / path).rename(self.root / (moved := self._name(person, other, 900 + i)))
            self.wrong.add(moved)
        for i, path in enumerate(drawn[PLANTED:-1]):
            copy = self._under_another(path, 800 + i)
            ALTERED[i % len(ALTERED)](Image.open(self.root / path), rng).save(self.root / copy)
            self.near[copy] = path
        self.same = drawn[-1], self._under_another(drawn[-1], 700)
        shutil.copy(self.root / self.same[0], self.root / self.same[1])

    def _under_another(self, path: str, frame: int) -> str:
        person, gesture, _ = path.split("/")
        return self._name(f"{(int(person) + 1) % 3:02d}", gesture, frame)

    def _name(self, person: str, gesture: str, frame: int) -> str:
        return f"{person}/{gesture}/frame_{person}_{self.gestures.index(gesture) + 1:02d}_{frame:04d}.png"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def found(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The directory of the audit of what was planted, and its audit.json."""
    folder = tmp_path_factory.mktemp("audit")
    words = [f"data.root={planted.root}", f"data.cache_dir={folder / 'cache'}", "split=subject"]
    assert call(audit.main, *words, f"hydra.run.dir={folder / 'run'}") == 0
    return folder / "run", json.loads((folder / "run" / "audit.json").read_text())


def test_planted_wrong_labels_are_found_and_hardly_any_other(planted: Planted, found: Any) -> None:
    suspected = {one["path"] for one in found[1]["labels"]["suspects"]}
    assert len(suspected & planted.wrong) >= 18
    others = found[1]["labels"]["judged"] - len(planted.wrong) - len(planted.near)
    assert len(suspected - planted.wrong - set(planted.near) - set(planted.same)) <= 0.01 * others


def test_planted_near_copies_are_found_and_hardly_any_other(planted: Planted, found: Any) -> None:
    pairs = [{one["path"], one["other"]} for one in found[1]["near"]["across_subjects"]]
    sequences = {
        copy: [pair for pair in pairs if copy in pair and any(one.startswith(path[:6]) for one in pair)]
        for copy, path in planted.near.items()
    }
    assert sum(bool(pairs) for pairs in sequences.values()) >= 18
    flagged = set().union(*pairs) - set(planted.near) - set(planted.near.values())
    assert len(flagged) <= 0.01 * found[1]["dataset"]["images"]


def test_the_planted_copy_is_found(planted: Planted, found: Any) -> None:
    groups = [set(group["paths"]) for group in found[1]["identical"]["groups"] if len(group["subjects"]) > 1]
    assert len(groups) == 1
    assert set(planted.same) <= groups[0]


def test_an_audit_leaves_pictures_of_what_it_found(found: Any) -> None:
    pictures = sorted(path.name for path in (found[0] / "plots").iterdir())
    assert {"identical.png", "likely_wrong.png", "near_across_subjects.png"} <= set(pictures)
    with Image.open(found[0] / "plots" / "likely_wrong.png") as picture:
        assert picture.width > 1000


def test_missing_frames_are_counted(planted: Planted, found: Any) -> None:
    gaps = {(gap["subject"], gap["gesture"]): gap["missing"] for gap in found[1]["gaps"]}
    moved = next(iter(planted.wrong))
    person, gesture, _ = moved.split("/")
    assert gaps[person, gesture] >= 800


@pytest.mark.parametrize(
    ("words", "code", "crosses"),
    [
        (["split=random"], 3, "sequences cut by the split"),
        (["split=random", "audit.strict=false"], 0, None),
        (["split=subject"], 0, None),
    ],
)
def test_a_strict_audit_ends_with_3_where_anything_crosses(
    words: list[str], code: int, crosses: str | None, tiny: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = [word for word in tiny if word.startswith("data.") and "batch_size" not in word]
    assert call(audit.main, *images, "audit.strict=true", *words, f"hydra.run.dir={tmp_path / 'run'}") == code
    complaint = capfd.readouterr().err
    assert (crosses in complaint) if crosses else complaint == ""
    found = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert found["leak"]["sentence"].startswith("a lookup that learns nothing names ")
    assert bool(found["crosses"]) == (words[0] == "split=random")


def test_a_refused_audit_leaves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["data.root=nowhere", f"hydra.run.dir={tmp_path / 'run'}"]
    assert call(audit.main, *words) == 2
    assert "holds no LeapGestRecog images" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
    assert call(audit.main, "audit.queries=0", f"hydra.run.dir={tmp_path / 'run'}") == 2
    assert call(audit.main, "data.image_size=[8,8]", f"hydra.run.dir={tmp_path / 'run'}") == 2
    assert call(audit.main, "-m", "split=random,subject") == 2


def test_images_without_people_are_audited(rendered: Path, tmp_path: Path) -> None:
    for image in rendered.rglob("*.png"):
        target = tmp_path / "photos" / image.parent.name / f"{image.parent.parent.name}_{image.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(image)
    words = ["data=folder", f"data.root={tmp_path / 'photos'}", f"data.cache_dir={tmp_path / 'cache'}"]
    assert call(audit.main, *words, "data.image_size=[32,64]", f"hydra.run.dir={tmp_path / 'run'}") == 0
    found = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert (found["gaps"], found["cut"], found["views"]) == (None, None, None)
    assert sum(found["counts"]["all"].values()) == 150


def test_a_training_says_what_a_lookup_names_of_its_test(run_dir: Path) -> None:
    leak = json.loads((run_dir / "result.json").read_text())["leak"]
    assert leak["queries"] == 50
    assert leak["chance"] == pytest.approx(0.1)
    assert 0 <= leak["share"] < 0.9
    assert leak["sentence"] == f"a lookup that learns nothing names {100 * leak['share']:.1f} % of this test"
    assert leak["sentence"].capitalize() in (run_dir / "train.log").read_text()


@needs_shared
def test_a_training_on_two_views_writes_which_a_frame_shows(tiny: list[str], tmp_path: Path) -> None:
    words = ["data.root=" + str(SHARED / "leapgestrecog"), "data.exclude=[00/*,03/*]", "data.image_size=[32,64]"]
    words += ["trainer.limit_train_batches=1", f"data.cache_dir={tmp_path / 'cache'}", "data.batch_size=64"]
    assert call(train.main, *tiny, *words, f"hydra.run.dir={tmp_path / 'run'}") == 0
    table = predictions.read(tmp_path / "run" / "predictions.csv")
    shown = {
        person: {view for who, view in zip(table.subjects, table.views, strict=True) if who == person}
        for person in ("01", "02")
    }
    assert shown == {"01": {""}, "02": {"0", "1"}}
