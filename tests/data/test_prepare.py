"""From settings to prepared data, as people keep their images: what is used, what is said, what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gesture.config.compose import compose
from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig
from gesture.data.prepare import Data, prepare, prepare_recorded
from gesture.data.splits import to_record
from gesture.data.whom import describe_split
from gesture.synthetic import dataset
from gesture.workers import cores

Log = pytest.LogCaptureFixture


def picture(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (36, 40), dtype=np.uint8))


def tree(
    root: Path, gestures: Sequence[str] = ("fist", "palm", "thumb"), images: int = 12, suffix: str = ".png"
) -> Path:
    """Different pictures, `images` of each gesture."""
    for gesture in gestures:
        for number in range(images):
            path = root / gesture / f"s{number % 4}_{number:03d}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(zlib.crc32(str(path).encode())).save(path)
    return root


Prepared = Callable[..., Data]
Composed = Callable[..., TrainConfig]


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., TrainConfig]:
    def composed(root: Path | str, *words: str) -> TrainConfig:
        usual = ["data=folder", f"data.root={root}", f"data.cache_dir={tmp_path / 'cache'}", "data.image_size=[32,32]"]
        given = {word.split("=")[0] for word in words}
        made: TrainConfig = compose("train", [*(word for word in usual if word.split("=")[0] not in given), *words])
        return made

    return composed


@pytest.fixture
def prepared(config: Callable[..., TrainConfig]) -> Prepared:
    """Data of a folder with further settings."""

    def made(root: Path | str, *words: str) -> Data:
        whole = config(root, *words)
        return prepare(whole.data, whole.split)

    return made


def refusal(prepared: Prepared, *words: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        prepared(*words)
    return str(refused.value)


def parts(data: Data) -> dict[str, set[str]]:
    return {part: {data.samples.paths[row] for row in data.split[part]} for part in ("train", "val", "test")}


def test_the_home_directory_may_be_written_as_people_write_it(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path / "images")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(prepared("~/images", "data.cache_dir=~/kept").images) == 36
    assert list((tmp_path / "kept").glob("*/images*.npy"))


def test_the_folders_own_split_is_used(prepared: Prepared, tmp_path: Path) -> None:
    for name, images in (("train", 12), ("valid", 4), ("test", 5)):
        tree(tmp_path / "d" / name, images=images)
    data = prepared(tmp_path / "d", "split=folder")
    assert data.samples.class_names == ("fist", "palm", "thumb")
    assert {part: {path.split("/")[0] for path in paths} for part, paths in parts(data).items()} == {
        "train": {"train"},
        "val": {"valid"},
        "test": {"test"},
    }


def test_a_split_of_two_folders_takes_its_validation_from_training_and_says_so(
    prepared: Prepared, tmp_path: Path, caplog: Log
) -> None:
    for missing, sentence in (("val", "no folder val/: a tenth"), ("test", "no folder test/: val/ tests")):
        root = tmp_path / missing
        for name in {"train", "val", "test"} - {missing}:
            tree(root / name, images=20 if name == "train" else 5)
        with caplog.at_level("INFO"):
            data = prepared(root, "split=folder")
        assert sentence in caplog.text
        tested = {"val": "test", "test": "val"}[missing]
        assert {len(paths) for paths in parts(data).values()} == {54, 6, 15}
        assert {path.split("/")[0] for path in parts(data)["test"]} == {tested}
        assert {path.split("/")[0] for path in parts(data)["val"]} == {"train"}


def test_a_split_that_nobody_asked_for_is_not_taken_for_gestures(prepared: Prepared, tmp_path: Path) -> None:
    tree(tmp_path / "d" / "train")
    tree(tmp_path / "d" / "test")
    assert "split=folder" in refusal(prepared, tmp_path / "d")
    assert len(prepared(tmp_path / "d", "data.pattern=/(?P<gesture>[^/]+)/").images) == 72


def test_validation_and_test_without_training_are_not_taken_for_gestures(prepared: Prepared, tmp_path: Path) -> None:
    tree(tmp_path / "d" / "val")
    tree(tmp_path / "d" / "test")
    assert "has test, val and no folder train" in refusal(prepared, tmp_path / "d")
    tree(tmp_path / "other" / "train")
    tree(tmp_path / "other" / "dev")
    assert "split=folder" in refusal(prepared, tmp_path / "other")


def test_what_stands_beside_the_folders_of_a_split_is_named(prepared: Prepared, tmp_path: Path) -> None:
    for name in ("train", "test", "unlabelled"):
        tree(tmp_path / "d" / name)
    for words in ((), ("split=folder",)):
        assert "'unlabelled/fist/s0_000.png' stands beside" in refusal(prepared, tmp_path / "d", *words)


def test_a_split_that_is_not_there_cannot_be_used(prepared: Prepared, tmp_path: Path) -> None:
    assert "needs folders train/ and test/" in refusal(prepared, tree(tmp_path / "d"), "split=folder")


def test_leapgestrecogs_people_are_not_taken_for_gestures(rendered: Path, prepared: Prepared) -> None:
    assert "data=leapgestrecog" in refusal(prepared, rendered)
    assert len(prepared(rendered, "data=leapgestrecog").samples.class_names) == 10
    pattern = r"data.pattern=(?P<subject>\d+)/(?P<gesture>\w+)/"
    assert len(prepared(rendered, pattern).samples.class_names) == 10
    assert prepared(rendered / "00").samples.class_names[0] == "01_palm"


def test_leapgestrecog_in_an_archives_or_one_more_folder_is_not_taken_for_gestures(
    rendered: Path, prepared: Prepared, tmp_path: Path
) -> None:
    doubled = tmp_path / "doubled"
    for name in ("leapGestRecog", "leapgestrecog/leapGestRecog"):
        shutil.copytree(rendered, doubled / name)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", doubled, "leapGestRecog")
    for root in (doubled, Path(archive)):
        assert "data=leapgestrecog" in refusal(prepared, root)


def test_images_of_many_formats_are_read(prepared: Prepared, tmp_path: Path) -> None:
    for suffix in (".tif", ".gif", ".pgm"):
        tree(tmp_path / "d", images=4, suffix=suffix)
    assert len(prepared(tmp_path / "d").images) == 36


def test_a_gesture_without_a_readable_image_is_named(prepared: Prepared, tmp_path: Path, caplog: Log) -> None:
    root = tree(tmp_path / "d", ("fist", "palm", "thumb", "wave"))
    for path in (root / "palm").iterdir():
        path.rename(path.with_suffix(".heic"))
    for path in (root / "thumb").iterdir():
        path.write_bytes(b"")
    data = prepared(root, "data.on_bad_image=skip")
    assert data.samples.class_names == ("fist", "wave")
    assert "no gesture: palm, whose files are no images by their names" in caplog.text
    assert "no gesture: thumb, none of whose images can be decoded" in caplog.text


def test_sixteen_bit_images_are_read_with_the_cameras_depth(prepared: Prepared, tmp_path: Path) -> None:
    eight, twelve = tree(tmp_path / "eight"), tmp_path / "twelve"
    for path in eight.rglob("*.png"):
        target = twelve / path.relative_to(eight)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16).save(target)
    assert "data.depth" in refusal(prepared, twelve)
    assert np.array_equal(prepared(twelve, "data.depth=12").images, prepared(eight).images)
    assert "more than 8 bits" in refusal(prepared, twelve)  # what another depth decoded is not taken for this one's


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_links_to_nothing_are_bad_images(prepared: Prepared, tmp_path: Path) -> None:
    root = tree(tmp_path / "d")
    os.mkfifo(root / "palm" / "x.bmp")
    (root / "palm" / "zz.png").symlink_to("/nowhere/x.png")
    said = refusal(prepared, root)
    assert "palm/x.bmp (a pipe or a device, no file)" in said
    assert "palm/zz.png (No such file or directory)" in said
    data = prepared(root, "data.on_bad_image=skip")
    assert (len(data.images), len(data.bad)) == (36, 2)


def test_one_damaged_member_of_an_archive_is_a_bad_image(prepared: Prepared, tmp_path: Path) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "d"), "zip", tree(tmp_path / "d")))
    content = bytearray(path.read_bytes())
    start = content.find(b"fist/s1_005.png") + len("fist/s1_005.png") + 60
    content[start : start + 20] = bytes(20)
    path.write_bytes(content)
    assert refusal(prepared, path).startswith("1 image cannot be decoded: fist/s1_005.png (damaged in the archive")
    data = prepared(path, "data.on_bad_image=skip")
    assert (len(data.images), list(data.bad)) == (35, ["fist/s1_005.png"])


def test_an_archives_one_outermost_folder_is_no_gesture(prepared: Prepared, tmp_path: Path) -> None:
    tree(tmp_path / "d" / "gestures")
    path = Path(shutil.make_archive(str(tmp_path / "d"), "zip", tmp_path / "d"))
    assert prepared(path).samples.class_names == ("fist", "palm", "thumb")


def test_a_single_gesture_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    assert "a classifier needs two gestures" in refusal(prepared, tree(tmp_path / "d", ("fist",)))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(?P<subject>s[0-2])?_\d+", "finds no subject in 'fist/s3_003.png'"),
        (r"(?P<gesture>fist|palm)?/s", "finds no gesture in 'thumb/s0_000.png'"),
        (r"_(?P<frame>00\d)?", "finds no frame in 'fist/s2_010.png'"),
    ],
)
def test_a_group_that_finds_nothing_in_one_image_is_refused_with_its_path(
    pattern: str, words: str, prepared: Prepared, tmp_path: Path
) -> None:
    assert words in refusal(prepared, tree(tmp_path / "d"), f"data.pattern={pattern}")


PEOPLE = r"data.pattern=(?P<subject>s\d)_"


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_part_of_nobody_is_refused(part: str, prepared: Prepared, tmp_path: Path) -> None:
    root = tree(tmp_path / "d")
    said = refusal(prepared, root, PEOPLE, "split=subject", f"split.{part}_subjects=[]")
    assert f"split.{part}_subjects=[] names nobody" in said
    assert len(prepared(root, PEOPLE, "split=subject").split.test) == 9


def test_an_unknown_person_is_refused_before_anything_is_decoded(prepared: Prepared, tmp_path: Path) -> None:
    root = tree(tmp_path / "d")
    said = refusal(prepared, root, PEOPLE, "split=subject", "split.test_subjects=[nobody]")
    assert "split.test_subjects names 'nobody'" in said
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "words", [("split=subject", "split.test_subjects=[77]"), ("split=fold", "split.folds=9"), ("split=folder",)]
)
def test_what_rendered_people_do_not_allow_is_refused_before_they_are_rendered(
    words: tuple[str, ...], prepared: Prepared, tmp_path: Path
) -> None:
    assert refusal(prepared, tmp_path / "rendered", "data=synthetic", "data.subjects=4", *words)
    assert not (tmp_path / "rendered").exists()


def test_rendered_data_are_read_where_nobody_may_write(
    prepared: Prepared, rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "render_dataset", None)
    words = ("data=synthetic", "data.subjects=3", "data.frames=5")
    assert len(prepared(rendered.parent, *words).images) == 150
    assert not (rendered.parent / ".lock").exists()


def test_an_incomplete_rendered_data_set_is_completed_with_the_same_pictures(
    prepared: Prepared, tmp_path: Path, caplog: Log
) -> None:
    caplog.set_level("INFO")
    words = (tmp_path / "hands", "data=synthetic", "data.subjects=3", "data.frames=2")
    before = prepared(*words)
    gone = tmp_path / "hands/synthetic-v1-3x2-seed0" / before.samples.paths[7]
    gone.unlink()
    caplog.clear()
    after = prepared(*words)
    assert "rendering missing frames: 1 in" in caplog.text
    assert after.fingerprint == before.fingerprint
    assert np.array_equal(after.images, before.images)
    caplog.clear()
    prepared(*words)
    assert "rendering" not in caplog.text


def test_a_small_part_of_many_rendered_frames_is_not_refused_before_they_are_rendered(
    prepared: Prepared, tmp_path: Path
) -> None:
    words = ("data=synthetic", "data.subjects=1", "data.frames=4", "split.val_fraction=0.03")
    assert len(prepared(tmp_path / "hands", *words).split.val) == 1


def test_a_gesture_with_one_image_trains(prepared: Prepared, tmp_path: Path, caplog: Log) -> None:
    root = tree(tmp_path / "d", ("fist", "palm"), images=30)
    tree(root, ("fist", "palm", "wave"), images=1)
    for seed in range(10):
        data = prepared(root, f"split.seed={seed}")
        assert "wave/s0_000.png" in parts(data)["train"]
    assert "trained on" not in caplog.text


def test_a_gesture_that_nobody_trains_on_is_named(prepared: Prepared, tmp_path: Path, caplog: Log) -> None:
    root = tree(tmp_path / "d")
    (root / "wave").mkdir()
    picture(1).save(root / "wave" / "s0_000.png")
    prepared(root, PEOPLE, "split=subject", "split.test_subjects=[s0]")
    assert "no image of wave is trained on" in caplog.text


def test_one_picture_under_two_gestures_is_named(prepared: Prepared, tmp_path: Path, caplog: Log) -> None:
    root = tree(tmp_path / "d")
    for number in range(5):
        shutil.copy(root / f"fist/s{number % 4}_00{number}.png", root / f"palm/copy{number}.png")
    prepared(root)
    assert "under two gestures: 5 pictures: fist/s0_000.png = palm/copy0.png;" in caplog.text
    assert "; and 2 more" in caplog.text


def test_listed_images_are_left_out_and_counted(prepared: Prepared, tmp_path: Path) -> None:
    root = tree(tmp_path / "d")
    listed = tmp_path / "list.txt"
    listed.write_text("# blurred\nthumb/s0_000.png\n\nthumb/s1_001.png\n")
    audit = tmp_path / "audit.json"
    audit.write_text(json.dumps(["thumb/s2_002.png"]))
    data = prepared(root, f"data.exclude=[fist/s3_007.png,palm/s0_*,{listed},{audit}]")
    gone = {"fist/s3_007.png", "palm/s0_000.png", "palm/s0_004.png", "palm/s0_008.png"}
    gone |= {"thumb/s0_000.png", "thumb/s1_001.png", "thumb/s2_002.png"}
    assert set(data.samples.paths) == {path.relative_to(root).as_posix() for path in root.rglob("*.png")} - gone
    assert data.describe()["excluded_images"] == 7
    assert prepared(root, "data.exclude=[thumb]").samples.class_names == ("fist", "palm")


def test_a_gesture_all_of_whose_images_are_excluded_is_named_as_such(
    prepared: Prepared, tmp_path: Path, caplog: Log
) -> None:
    caplog.set_level("INFO")
    prepared(tree(tmp_path / "d"), "data.exclude=[thumb/*]")
    assert "left out: 12 images by data.exclude" in caplog.text
    assert "no gesture: thumb, all of whose images data.exclude leaves out" in caplog.text
    assert "decoded" not in "".join(record.message for record in caplog.records if record.levelname == "WARNING")
    caplog.clear()
    prepared(tmp_path / "d", "data.exclude=[thumb/s0_000.png]")
    assert "left out: 1 image by data.exclude" in caplog.text
    caplog.clear()
    prepared(tmp_path / "d")
    assert "data.exclude" not in caplog.text


@pytest.mark.parametrize(
    ("kept_from_training", "note"),
    [
        ("train/*/s0_*", "1 of the 2 people of the test was seen in training: this says little about others."),
        ("train/*/s2_*", "All 2 people of the test were seen in training: this says little about others."),
    ],
)
def test_people_of_the_test_who_were_seen_are_counted(
    kept_from_training: str, note: str, prepared: Prepared, config: Composed, tmp_path: Path
) -> None:
    for side in ("train", "test"):
        tree(tmp_path / "d" / side)
    words = (PEOPLE, "split=folder", f"data.exclude=[test/*/s2_*,test/*/s3_*,{kept_from_training}]")
    made = config(tmp_path / "d", *words).split
    assert describe_split(made, prepared(tmp_path / "d", *words))["note"] == note


def test_excluded_people_are_dealt_to_no_side(prepared: Prepared, tmp_path: Path) -> None:
    root = tree(tmp_path / "d")
    data = prepared(root, PEOPLE, "split=fold", "split.folds=3", "split.fold=0", "data.exclude=[*/s0_*]")
    assert data.samples.subject_names == ("s1", "s2", "s3")
    assert {path.split("/")[1][:2] for path in parts(data)["test"]} == {"s1"}


def test_images_are_excluded_by_their_absolute_paths_too(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    tree(tmp_path / "d")
    (tmp_path / "link").symlink_to("d")
    for root in ("d", tmp_path / "d", "link", "../" + tmp_path.name + "/d"):
        for entry, gone in ((f"{tmp_path}/d/fist/s0_000.png", 1), (f"{tmp_path}/d/palm/*", 12), ("~/d/thumb/", 12)):
            assert len(prepared(root, f"data.exclude=[{entry}]").images) == 36 - gone


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("fist/nothing.png", "what is no image below"),
        ("nothing/*", "what is no image below"),
        ("/nowhere/fist/s0_000.png", "what is no image below"),
        ("~nobody/*", "what is no image below"),
        ("*", "data.exclude leaves no image below"),
        ("fist,palm", "data.exclude leaves only thumb: a classifier needs two gestures"),
        ("nowhere.txt", "'nowhere.txt' cannot be read"),
    ],
)
def test_an_exclusion_of_nothing_is_refused(entry: str, words: str, prepared: Prepared, tmp_path: Path) -> None:
    assert words in refusal(prepared, tree(tmp_path / "d"), f"data.exclude=[{entry}]")


def record_of(data: Data) -> tuple[dict[str, Any], tuple[str, ...]]:
    return to_record(data.split, data.samples), data.samples.class_names


@pytest.mark.parametrize("change", ["none", "a class before", "classes after", "a damaged stranger", "moved"])
def test_recorded_images_keep_their_gestures_whatever_came_since(
    change: str, prepared: Prepared, config: Composed, tmp_path: Path
) -> None:
    root = tree(tmp_path / "d")
    before = prepared(root, "data.stride=2")
    record, names = record_of(before)
    if change == "a class before":
        tree(root, ("aaa",), images=1)
    if change == "classes after":
        tree(root, ("x", "y"))
    if change == "a damaged stranger":
        (root / "fist" / "z_999.png").write_bytes(b"")
    if change == "moved":
        root = root.rename(tmp_path / "moved")
    after = prepare_recorded(config(root, "data.stride=2").data, record, names)
    assert after.samples.class_names == names
    for part in ("train", "val", "test"):
        for one, other in zip(before.split[part], after.split[part], strict=True):
            assert before.samples.paths[one] == after.samples.paths[other]
            assert before.samples.gestures[one] == after.samples.gestures[other]
            assert np.array_equal(before.images[one], after.images[other])


def test_a_gesture_of_the_run_may_be_missing_if_no_part_of_the_split_shows_it(
    prepared: Prepared, config: Composed, tmp_path: Path
) -> None:
    root = tree(tmp_path / "d")
    record, names = record_of(prepared(root))
    after = prepare_recorded(config(root).data, record, ("aaa", *names))
    assert set(after.samples.gestures) == {1, 2, 3}
    with pytest.raises(ConfigError, match=r"shows no gesture of the run's: fist, palm\."):
        prepare_recorded(config(root).data, record, names[:2])
    (root / record["test"][0]).unlink()
    with pytest.raises(ConfigError, match="1 image of the recorded split is not below"):
        prepare_recorded(config(root).data, record, names)


def test_what_was_excluded_need_not_be_there_to_test_again(
    prepared: Prepared, config: Composed, tmp_path: Path
) -> None:
    root = tree(tmp_path / "d")
    listed = tmp_path / "list.txt"
    listed.write_text("thumb/s0_000.png\n")
    words = f"data.exclude=[{listed},fist/s1_001.png]"
    record, names = record_of(prepared(root, words))
    for path in (listed, root / "thumb/s0_000.png", root / "fist/s1_001.png"):
        path.unlink()
    assert len(prepare_recorded(config(root, words).data, record, names).images) == 34


def rendering(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A training that renders hands for minutes, and its workers."""
    words = ["data=synthetic", f"data.root={tmp_path / 'hands'}", "data.frames=200", "hydra.run.dir=run"]
    command = [sys.executable, "-m", "gesture.train", *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    while not list((tmp_path / "hands").rglob("*.png")):
        assert process.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return process, [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


finds_workers = pytest.mark.skipif(
    cores() == 1 or not Path("/proc/self/task").is_dir(), reason="needs two cores, and finds workers in Linux's /proc"
)


@finds_workers
def test_a_training_whose_renderer_is_killed_fails_with_one_sentence(tmp_path: Path) -> None:
    process, workers = rendering(tmp_path)
    os.kill(workers[0], signal.SIGKILL)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "A worker process was killed by SIGKILL" in said + complained
    assert "Traceback" not in said + complained
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["status"] == "failed"
    assert record["error"].startswith("A worker process was killed by SIGKILL")
    assert not list((tmp_path / "hands").glob(".synthetic-*"))


@finds_workers
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_training_that_is_stopped_while_it_renders_leaves_nobody_behind(
    signum: signal.Signals, code: int, tmp_path: Path
) -> None:
    process, _ = rendering(tmp_path)
    os.killpg(process.pid, signum)
    process.communicate(timeout=60)  # returns when the last process that holds the pipes is gone
    assert process.returncode == code
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "interrupted"
    assert not list((tmp_path / "hands").glob(".synthetic-*"))
