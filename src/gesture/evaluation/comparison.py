"""Many runs made into one answer: folds and seeds joined into settings, and these compared on the same people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from gesture.data.files import counted
from gesture.evaluation.intervals import CAVEAT, Difference, Interval, mean_over_people, paired_difference
from gesture.evaluation.run import RANDOM, Run, Scores, joined, key_of, rank, read, record_of
from gesture.runs.collection import Trial
from gesture.runs.settings import OF_A_FOLD, Settings, differing, words

VERSION = 1
"""Of comparison.json."""
MOST_IN_PAIRS = 6
"""Settings that are compared each with each; more are compared with the best one."""
LONGEST_LABEL = 60


@dataclass(frozen=True)
class Setting:
    """The runs that differ in nothing but who tests and what is drawn."""

    label: str
    differs: Settings
    """Its values of what differs between settings."""
    runs: list[Run]
    scores: Scores
    """Of everybody whom one of its runs tests: the mean over these runs."""
    interval: Interval
    """Over the people compared."""
    worst: tuple[str, float]
    """Of the people compared, whom it recognises least."""
    random_split: float | None
    """The mean over people where the same settings trained and tested on the same people; None: no such run."""
    gap: float | None
    """By how much that is more than the mean over the same people where they were not seen."""

    @property
    def seeds(self) -> int:
        return len({run.settings.get("seed") for run in self.runs})


@dataclass(frozen=True)
class Comparison:
    """One answer from many runs."""

    level: float
    runs: list[Run]
    """The best score first, those without one last."""
    differs: list[dict[str, Any]]
    """For each run its values of what differs between runs."""
    people: list[str]
    """Whom every setting tests."""
    settings: list[Setting]
    """The best first; only of runs whose test's people were not seen in training."""
    differences: list[tuple[str, str, Difference]]
    """With the labels of the two settings."""
    sentences: list[str]
    """What a reader must know beside the numbers."""

    def record(self) -> dict[str, Any]:
        """What comparison.json holds."""
        everybody = sorted({person for setting in self.settings for person in setting.scores})
        return {
            "version": VERSION,
            "level": self.level,
            "runs": [record_of(run, differs) for run, differs in zip(self.runs, self.differs, strict=True)],
            "people": self.people,
            "settings": [_setting_record(setting, everybody) for setting in self.settings],
            "differences": [{"one": one, "other": other, **asdict(found)} for one, other, found in self.differences],
            "curves": {str(run.trial.path): run.curve for run in self.runs if run.curve},
            "sentences": self.sentences,
        }


def compare(trials: Sequence[Trial], level: float) -> Comparison:
    """All that run directories tell together; no network is run."""
    runs = sorted((read(trial) for trial in trials), key=rank)
    differs = differing([run.settings for run in runs])
    unseen = joined([run for run in runs if run.scores and not run.people_were_seen], OF_A_FOLD)
    settings, people = _settings(unseen, _random_splits(runs), level)
    differences = _differences(settings, people, level)
    return Comparison(
        level,
        runs,
        [{key: run.settings[key] for key in differs if key in run.settings} for run in runs],
        people,
        settings,
        differences,
        _sentences(runs, settings, people, len(differences)),
    )


def _random_splits(runs: Sequence[Run]) -> dict[str, Scores]:
    """Each person's score on random splits, by all settings but the split's."""
    drawn = [run for run in runs if run.scores and run.settings.get("split") == RANDOM]
    return {key: _mean_scores(group) for key, group in joined(drawn, OF_A_FOLD, ["split"]).items()}


def _mean_scores(runs: Sequence[Run]) -> Scores:
    people = sorted({person for run in runs for person in run.scores})
    return {person: _mean([run.scores[person] for run in runs if person in run.scores]) for person in people}


def _settings(
    groups: Mapping[str, list[Run]], drawn: Mapping[str, Scores], level: float
) -> tuple[list[Setting], list[str]]:
    """The settings, the best first, and the people whom all of them test."""
    keys = differing([runs[0].settings for runs in groups.values()], OF_A_FOLD)
    tested = [_mean_scores(runs) for runs in groups.values()]
    people = sorted(set.intersection(*({*scores} for scores in tested))) if tested else []
    found: list[Setting] = []
    for runs, own in zip(groups.values(), tested, strict=True):
        settings = runs[0].settings
        differs = {key: settings[key] for key in keys if key in settings}
        label = _label(differs or {"backbone": settings.get("backbone")}, [setting.label for setting in found])
        compared = {person: own[person] for person in people or own}
        worst = min(compared.items(), key=lambda item: item[1])
        random_split, gap = _against(drawn.get(key_of(settings, OF_A_FOLD, ["split"]), {}), compared)
        interval = mean_over_people(list(compared.values()), level)
        found.append(Setting(label, differs, runs, own, interval, worst, random_split, gap))
    return sorted(found, key=lambda setting: -setting.interval.mean), people


def _label(differs: Settings, taken: Sequence[str]) -> str:
    label = words(differs)
    if len(label) > LONGEST_LABEL:
        label = f"{label[: LONGEST_LABEL - 1]}…"
    return label if label not in taken else f"{label} ({len(taken) + 1})"


def _against(drawn: Scores, unseen: Scores) -> tuple[float | None, float | None]:
    """The mean on a random split, and how much more it is than the same people's where they were not seen."""
    shared = [person for person in unseen if person in drawn]
    if not shared:
        return None, None
    random_split = _mean([drawn[person] for person in shared])
    return random_split, random_split - _mean([unseen[person] for person in shared])


def _differences(settings: Sequence[Setting], people: Sequence[str], level: float) -> list[tuple[str, str, Difference]]:
    pairs = list(combinations(settings, 2)) if people else []
    if len(settings) > MOST_IN_PAIRS:
        pairs = [pair for pair in pairs if pair[0] is settings[0]]
    return [
        (
            one.label,
            other.label,
            paired_difference(
                [one.scores[person] for person in people],
                [other.scores[person] for person in people],
                level,
                (one.label, other.label),
            ),
        )
        for one, other in pairs
    ]


def _sentences(runs: Sequence[Run], settings: Sequence[Setting], people: Sequence[str], tests: int) -> list[str]:
    said: list[str] = []
    if undone := [run for run in runs if run.trial.status != "done"]:
        statuses = ", ".join(sorted({run.trial.status for run in undone}))
        said.append(f"Not done: {len(undone)} of {counted(len(runs), 'run')} ({statuses}).")
    if not settings:
        return [
            *said,
            "No run tests people whom it was not trained on: train with -m experiment=loso to learn of them.",
        ]
    if not people:
        said.append("No person is tested in every setting, so the settings are not compared.")
    elif missing := _missing(settings, people):
        said.append(f"Left out of the comparison, since not every setting tests them: {missing}.")
    if not any(setting.gap is not None for setting in settings):
        said.append("The gap to a random split is not measured: train with split=random and the same settings.")
    if tests > 1:
        said.append(
            f"{tests} differences were tested: of twenty between settings that are alike, one is found by chance."
        )
    return [*said, CAVEAT]


def _missing(settings: Sequence[Setting], people: Sequence[str]) -> str:
    lacking: dict[str, list[str]] = {}
    for person in sorted({person for setting in settings for person in setting.scores} - {*people}):
        without = "; ".join(setting.label for setting in settings if person not in setting.scores)
        lacking.setdefault(without, []).append(person)
    return ", ".join(f"{', '.join(names)} (not in {without})" for without, names in lacking.items())


def _setting_record(setting: Setting, everybody: Sequence[str]) -> dict[str, Any]:
    person, score = setting.worst
    return {
        "label": setting.label,
        "differs": setting.differs,
        "runs": len(setting.runs),
        "seeds": setting.seeds,
        "per_person": {name: setting.scores.get(name) for name in everybody},
        "interval": asdict(setting.interval),
        "worst": {"person": person, "score": score},
        "random_split": setting.random_split,
        "gap": setting.gap,
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
