"""How often the interval over people holds the true mean, and how often alike settings are told apart, by simulation.

    python -m benchmarks.coverage           # 3,000 draws of 5, 10 and 20 people each; nominal 95 %
    python -m benchmarks.coverage 200       # fewer draws

Ordinary populations are what people's scores are mostly like; of the hard ones a handful of people cannot tell what the
others are like, and the interval's note and caveat say so.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import OUTPUT
from gesture.evaluation.intervals import mean_over_people, paired_difference
from gesture.report.tables import text_table

Floats = NDArray[np.float64]
Population = Callable[[np.random.Generator, int], Floats]
"""Scores of so many people drawn from it."""

DRAWS = 3_000
PEOPLE = (5, 10, 20)
PAIRED = (6, 10, 12)
IMAGES = 200
LEVEL = 0.95
MANY = 4_000_000
"""People whose mean is taken for the true one."""


def _even(draw: np.random.Generator, people: int) -> Floats:
    return np.clip(draw.normal(0.85, 0.06, people), 0, 1)


def _skewed(draw: np.random.Generator, people: int) -> Floats:
    return draw.beta(9, 1.5, people)


def _counted(draw: np.random.Generator, people: int) -> Floats:
    return _named_rightly(draw, draw.beta(17, 3, people))


def _near_the_ceiling(draw: np.random.Generator, people: int) -> Floats:
    return _named_rightly(draw, 1 - draw.exponential(0.005, people))


def _rarely_hard(draw: np.random.Generator, people: int) -> Floats:
    is_hard = draw.random(people) < 0.05
    return np.clip(np.where(is_hard, draw.normal(0.5, 0.1, people), draw.normal(0.95, 0.02, people)), 0, 1)


def _near_the_ceiling_and_rarely_hard(draw: np.random.Generator, people: int) -> Floats:
    errors = np.where(draw.random(people) < 0.1, draw.exponential(0.05, people), draw.exponential(0.002, people))
    return _named_rightly(draw, 1 - errors)


def _named_rightly(draw: np.random.Generator, chances: Floats) -> Floats:
    """The share of each person's images, where every image has the person's chance."""
    return draw.binomial(IMAGES, np.maximum(chances, 0)) / IMAGES


ORDINARY: dict[str, Population] = {
    "even (85 ± 6 %)": _even,
    "skewed (Beta 9, 1.5)": _skewed,
    "counted over 200 images (Beta 17, 3)": _counted,
}
HARD: dict[str, Population] = {
    "near the ceiling (99.5 %)": _near_the_ceiling,
    "one person in 20 at 50 %, others at 95 %": _rarely_hard,
    "near the ceiling, one in ten at 95 %": _near_the_ceiling_and_rarely_hard,
}


@dataclass(frozen=True)
class Coverage:
    """What became of so many intervals, as shares of them."""

    held: float
    """Of those that there were."""
    absent: float
    warned: float
    """With a note."""
    width: float
    """The middle one's."""


def coverage(population: Population, people: int, draws: int, seed: int = 0) -> Coverage:
    """Draw so many people again and again, and see whether the interval of their mean holds everybody's."""
    draw = np.random.default_rng(seed)
    mean = float(population(draw, MANY).mean())
    found = [mean_over_people(population(draw, people).tolist(), LEVEL) for _ in range(draws)]
    ends = [(one.low, one.high) for one in found if one.low is not None and one.high is not None]
    return Coverage(
        held=float(np.mean([low <= mean <= high for low, high in ends])),
        absent=1 - len(ends) / draws,
        warned=float(np.mean([one.note != "" for one in found])),
        width=float(np.median([high - low for low, high in ends])),
    )


def told_apart(population: Population, people: int, draws: int, seed: int = 0) -> float:
    """How often two settings that are alike, each person's scores drawn twice, differ by the sign-flip test."""
    draw = np.random.default_rng(seed)
    pairs = [(population(draw, people).tolist(), population(draw, people).tolist()) for _ in range(draws)]
    return float(np.mean([paired_difference(one, other, LEVEL).p <= 1 - LEVEL for one, other in pairs]))


def main(words: list[str]) -> None:
    draws = int(words[0]) if words else DRAWS
    populations = {**ORDINARY, **HARD}
    covered = {
        f"{name}, {people} people": coverage(population, people, draws)
        for name, population in populations.items()
        for people in PEOPLE
    }
    apart = {
        f"{name}, {people} people": told_apart(population, people, draws)
        for name, population in populations.items()
        for people in PAIRED
    }
    heads = ["population", "hold the mean", "no interval", "with a warning", "median width"]
    rows = [[name, *(f"{100 * share:.1f}" for share in astuple(found))] for name, found in covered.items()]
    print(text_table(f"{draws:,} draws, nominal {LEVEL:.0%}; % and points", heads, rows))
    rows = [[name, f"{100 * share:.1f}"] for name, share in apart.items()]
    print(text_table("two settings that are alike, sign-flip test; %", ["population", "told apart"], rows))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    record = {"draws": draws, "covered": {name: asdict(found) for name, found in covered.items()}, "told apart": apart}
    (OUTPUT / "coverage.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
