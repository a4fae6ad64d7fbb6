"""One evaluation: ask finished networks, average them, measure what they say, keep the record."""

import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gesture.config.refusals import ConfigError
from gesture.config.schema import EvaluateConfig
from gesture.data.decode import Images
from gesture.data.files import counted, find_images, make_writable
from gesture.data.pixels import read_all
from gesture.data.whom import Seen, seen, whom
from gesture.evaluation.evaluation import Material, Member, averaged, describe, surest_mistakes
from gesture.evaluation.fitted import Fitted, Wanted, fit
from gesture.evaluation.groups import read_groups
from gesture.process import held_back
from gesture.runs import predictions
from gesture.runs.collection import matching, runs_in
from gesture.runs.directory import RunDirectory
from gesture.runs.files import to_json, write_atomically
from gesture.runs.output import Output, judged
from gesture.runs.predictions import Predictions
from gesture.synthetic.dataset import render_empty
from gesture.training import again
from gesture.training.again import Answering, Finished, Questions

log = logging.getLogger(__name__)

RECORD, PREDICTIONS, PLOTS = "evaluation.json", "predictions.csv", "plots"
"""What an evaluation leaves in its directory."""
EMPTY_SCENES = 50
"""Rooms without a hand that are rendered, to see whether the network names a gesture in them."""
EMPTY_SEED = 0
EMPTY = f"{EMPTY_SCENES} rendered rooms without a hand"
NOT_KNOWN = (
    "Whether these images trained or validated is not known: the run's own ones are not there any more as they were."
)

Record = dict[str, Any]
Explain = Callable[[Path, Images, Sequence[int]], NDArray[np.float32]]
"""From a checkpoint, images [K, H, W] and gestures [K] to what was looked at for these, [K, H, W] in [0, 1]."""


@dataclass(frozen=True)
class Asked:
    """A run and what it was asked and said."""

    finished: Finished
    questions: Questions
    answering: Answering
    unknown: Mapping[str, NDArray[np.float32]]
    """Probabilities [K, C] of sets of images of no gesture that it was trained on."""
    seen: Seen

    @property
    def pictures(self) -> dict[str, str]:
        """The digest of each image of its test, by path."""
        data = self.questions.data
        return {data.samples.paths[row]: data.digests[row] for row in data.split.test}


def run(wish: EvaluateConfig, directory: Path, explain: Explain | None = None) -> Record:
    """The content of evaluation.json, which is written into a directory of its own with its table and plots.

    Raises:
        ConfigError: a run is none or damaged, runs do not go together, images are gone, or a setting is none.
    """
    with judged(wish.output) as output:
        return _run(wish, directory, explain, output)


def _run(wish: EvaluateConfig, directory: Path, explain: Explain | None, output: Output | None) -> Record:
    runs = [again.find(path) for path in _paths(wish)]
    _check_gestures(runs)
    sets = {folder: find_images(Path(folder).expanduser(), "unknown") for folder in wish.unknown}
    group_of = None if wish.groups is None else read_groups(Path(wish.groups).expanduser())
    if output:
        output.check(path for one in runs for path in (one.checkpoint, *one.run.files))
        output.check(path for paths in sets.values() for path in paths)
    asked = [_ask(finished, wish, sets, output) for finished in runs]
    with held_back():
        from gesture.report import evaluation as shown  # imports Matplotlib, which a refusal need not wait for
        from gesture.report import page

    material = _material(asked, wish, group_of)
    record = describe(material)
    _write(record, material.test, directory)
    shown.draw(record, material.test, directory / PLOTS)
    shown.draw_mistakes(record, *_looked_at(material.test, asked[0], explain), directory / PLOTS)
    page.leave_of_evaluation(directory)
    log.info("%s", shown.summary(record))
    _compare(asked, record["metrics"])
    if material.fitted and len(asked) == 1 and _is_recorded_test(asked[0]):
        _keep(material.fitted, runs[0].run)
        page.leave_of_run(runs[0].run)  # which now tells of its calibration too
    log.info("evaluation: %s", shlex.quote(str(directory)))
    if output:
        named: Record = {"checkpoint": record["runs"][0]} if len(runs) == 1 else {"runs": record["runs"]}
        output.write(to_json({**named, "metrics": record["metrics"]}))
    return record


def _paths(wish: EvaluateConfig) -> list[str]:
    """What `run` or `runs` names: checkpoints, and runs, also those of a folder or that fit a pattern."""
    if wish.run is not None and wish.runs:
        raise ConfigError("run and runs are both given: give run=<one> or runs=[<one>,<another>].")
    if wish.run is not None:
        return [wish.run]
    if not wish.runs:
        raise ConfigError("run is not set: give run=<a run directory or checkpoint>, or runs=[...] to average several.")
    found: list[str] = []
    for name in wish.runs:
        found += [str(path) for place in matching(name) for path in _runs_at(place)] or [name]
    if twice := [name for place, name in enumerate(found) if name in found[:place]]:
        raise ConfigError(f"runs names '{twice[0]}' twice: leave one out.")
    return found


def _runs_at(place: Path) -> list[Path]:
    """A checkpoint, or the runs at a place; none where it holds none, as a sweep's table does."""
    return [place] if place.suffix == ".ckpt" else [trial.path for trial in runs_in(place)]


def _check_gestures(runs: Sequence[Finished]) -> None:
    first, *others = runs
    for other in others:
        if set(other.class_names) != set(first.class_names):
            differing = sorted(set(first.class_names) ^ set(other.class_names))
            raise ConfigError(
                f"'{first.run.path}' and '{other.run.path}' know different gestures ({', '.join(differing[:5])}): runs "
                "that are averaged must know the same."
            )


def _ask(finished: Finished, wish: EvaluateConfig, sets: Mapping[str, list[Path]], output: Output | None) -> Asked:
    """Put one network to all images."""
    questions = again.questions(finished, wish)
    samples = questions.data.samples
    if output:
        output.check(samples.files.root / path for path in ("", *samples.paths))
    if questions.foreign:
        names = ", ".join(questions.foreign)
        log.warning(
            "%s not trained: %s. Their images count as unknown", counted(len(questions.foreign), "gesture"), names
        )
    answering = again.ask(finished, questions, wish)
    recorded = finished.record.get("dataset", {}).get("fingerprint")
    if wish.data is None and questions.data.fingerprint != recorded:
        log.warning("The images are not the run's: files below %s were changed, added or removed.", samples.files.root)
    own = again.own_images(finished, questions, wish)
    known = seen(questions.data, own, wish.data is None, recorded, finished.trained)
    return Asked(finished, questions, answering, _unknown(questions, answering, sets), known)


def _unknown(
    questions: Questions, answering: Answering, sets: Mapping[str, list[Path]]
) -> dict[str, NDArray[np.float32]]:
    """What the network says of images of no gesture that it was trained on, by the name of their set."""
    size, depth = questions.config.data.image_size, questions.config.data.depth
    scenes = [render_empty(EMPTY_SEED, person) for person in range(EMPTY_SCENES)]
    found = {EMPTY: answering.probabilities(read_all(scenes, size, depth)[0])}
    for name, rows in questions.foreign.items():
        found[f"gesture {name}"] = answering.probabilities(questions.data.images[rows])
    for folder, paths in sets.items():
        images, bad = read_all(paths, size, depth)
        if bad:
            log.warning(
                "left out since they cannot be decoded: %s of %s, %s", counted(len(bad), "image"), folder, bad[0]
            )
        found[folder] = answering.probabilities(images)
    return found


def _material(asked: Sequence[Asked], wish: EvaluateConfig, group_of: Mapping[str, str] | None) -> Material:
    """What the record is a view of."""
    _check_images(asked)
    members = [Member(str(one.finished.checkpoint), one.answering.predictions) for one in asked]
    test = averaged([member.predictions for member in members])
    fitted, note = _fit(asked, wish)
    first = asked[0].finished
    losses = [(one.finished.config.loss, one.finished.record.get("class_weights")) for one in asked]
    return Material(
        members=members,
        test=test,
        loss=first.config.loss if all(loss == losses[0] for loss in losses) else None,
        class_weights=first.record.get("class_weights"),
        protocol=_protocol(asked, test, wish),
        fitted=fitted,
        note=note,
        unknown={name: _mean_of_unknown(asked, name) for name in asked[0].unknown},
        group_of=group_of,
    )


def _check_images(asked: Sequence[Asked]) -> None:
    first, *others = asked
    for other in others:
        if other.pictures != first.pictures:
            raise ConfigError(
                f"the runs test different images, '{first.finished.run.path}' {len(first.pictures)} and "
                f"'{other.finished.run.path}' {len(other.pictures)}: give runs of one split, or data=... or "
                "split=... to test all on the same."
            )


def _mean_of_unknown(asked: Sequence[Asked], name: str) -> NDArray[np.float32]:
    """The networks' mean probabilities [K, C] of a set of images of no gesture, gestures as the first one has them."""
    names = asked[0].finished.class_names
    columns = [[one.finished.class_names.index(gesture) for gesture in names] for one in asked]
    found = [one.unknown[name][:, order] for one, order in zip(asked, columns, strict=True)]
    return np.asarray(np.mean(found, axis=0), dtype=np.float32)


def _protocol(asked: Sequence[Asked], test: Predictions, wish: EvaluateConfig) -> Record:
    """Whose images these are, and which of them the networks have seen; null where that is not known."""
    first = asked[0]
    people = sorted(set(test.subjects) - {""})
    known = sorted({person for one in asked for person in one.seen.people})
    trained_on = {path for one in asked for path in one.seen.trained_on}
    knows_people = all(one.seen.knows_people for one in asked)
    knows_images = all(one.seen.knows_images for one in asked)
    notes = [whom(people, known, knows_people), *([] if knows_images else [NOT_KNOWN])]
    if trained_on:
        log.warning("%s of these were trained on: the figures say nothing of others", counted(len(trained_on), "image"))
    split = first.questions.config.split.name
    name = f"recorded {split}" if wish.data is None and wish.split is None else split if wish.split else "all images"
    data = first.questions.data
    return {
        "dataset": {**data.describe(), "root": str(data.samples.files.root)},
        "split": {"name": name, "note": " ".join(notes)},
        "seen_in_training": known if known or knows_people else None,
        "images_trained_on": len(trained_on) if trained_on or knows_images else None,
    }


def _fit(asked: Sequence[Asked], wish: EvaluateConfig) -> tuple[Fitted | None, str]:
    """The temperature and threshold of what the runs recorded of their validation; why there is none, or a doubt."""
    runs = [one.finished for one in asked]
    if others := [one for one in runs if not one.is_best]:
        return None, f"A run records the predictions of its best checkpoint, which {others[0].checkpoint} is not."
    try:
        recorded = [predictions.read(one.run.predictions).of("val") for one in runs]
    except ConfigError as error:
        return None, f"No validation was recorded: {error}"
    sets = {one.record.get("dataset", {}).get("fingerprint") for one in runs}
    if len(sets) > 1 or not all(set(one.paths) == set(recorded[0].paths) for one in recorded):
        return None, "The runs validated on different images, so that no image tells about their average."
    if not len(recorded[0]):
        return None, "No validation was recorded."
    validation = averaged(recorded)
    if tested := {path for one in asked for path in one.seen.validated_on}:
        return None, f"{counted(len(tested), 'image')} of the validation test here, and nothing is fitted on a test."
    most = wish.reject.error
    wanted = Wanted(coverage=wish.reject.coverage) if most is None else Wanted(error=most)
    note = "" if all(one.seen.knows_images for one in asked) else NOT_KNOWN
    return fit(validation, wanted, {person for one in runs for person in one.trained}), note


def _looked_at(test: Predictions, asked: Asked, explain: Explain | None) -> tuple[Images, NDArray[np.float32] | None]:
    """The images [K, H, W] of the surest mistakes, and where it was asked for what the first network looked at."""
    samples, mistakes = asked.questions.data.samples, surest_mistakes(test)
    row_of = {path: row for row, path in enumerate(samples.paths)}
    images = asked.questions.data.images[[row_of[test.paths[row]] for row in mistakes]]
    if explain is None or not mistakes:
        return images, None
    named = [int(test.probabilities[row].argmax()) for row in mistakes]
    own = [asked.finished.class_names.index(test.class_names[gesture]) for gesture in named]
    return images, explain(asked.finished.checkpoint, images, own)


def _write(record: Record, test: Predictions, directory: Path) -> None:
    make_writable(directory / PLOTS, "hydra.run.dir")
    write_atomically(directory / RECORD, to_json(record))
    predictions.write(directory / PREDICTIONS, test)


def _compare(asked: Sequence[Asked], metrics: Mapping[str, float | None]) -> None:
    """Say whether a run says what it recorded, where it was asked that again."""
    only = asked[0]
    if len(asked) == 1 and only.finished.is_best and _is_recorded_test(only):
        log.info("%s", again.compare(dict(metrics), only.finished.record.get("metrics", {})))


def _is_recorded_test(asked: Asked) -> bool:
    return asked.questions.config is asked.finished.config


def _keep(fitted: Fitted, run: RunDirectory) -> None:
    """Write down in the run's directory what predicting reads; a run that cannot be written to is only said so."""
    try:
        write_atomically(run.calibration, to_json(fitted.to_dict()))
    except OSError as error:
        log.warning("calibration.json of %s cannot be written: %s", run.path, error.strerror)
    else:
        log.info("calibration: %s", shlex.quote(str(run.calibration)))
