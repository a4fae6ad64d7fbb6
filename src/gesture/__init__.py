"""Recognise hand gestures in near-infrared images: train, compare and use networks.

recogniser = gesture.load("logs/resnet18/2026-11-23_10-00-00-000000")
recogniser.predict(["hand.png"])[0].gesture
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gesture.recogniser import Recogniser

__all__ = ["load"]


def load(run: str | Path, accelerator: str = "auto") -> "Recogniser":
    """The trained recogniser of a run directory (its best checkpoint) or of one checkpoint file.

    Raises:
        gesture.config.ConfigError: there is no checkpoint at `run`, or the accelerator is absent.
    """
    from gesture.recogniser import Recogniser  # imports torch, which takes seconds

    return Recogniser.load(Path(run), accelerator)
