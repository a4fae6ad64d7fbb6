"""Recognise hand gestures in near-infrared images: train, compare and use networks.

result = gesture.fit("data=synthetic", "experiment=fast")
recogniser = gesture.load(result.directory)
recogniser.predict(["hand.png"])[0].gesture
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gesture.inference.recogniser import Recogniser
    from gesture.runs.result import Result

__all__ = ["__version__", "compose", "fit", "load"]


def __getattr__(name: str) -> str:
    """`__version__`, which reading the installed packages takes too long to be there from the start."""
    if name == "__version__":
        from importlib.metadata import version

        return version("gesture")
    raise AttributeError(f"module 'gesture' has no attribute {name!r}")


def load(run: str | Path, accelerator: str = "auto") -> "Recogniser":
    """The trained recogniser of a run directory (its best checkpoint) or of one checkpoint file.

    Raises:
        gesture.config.refusals.ConfigError: there is no checkpoint at `run`, or the accelerator is absent.
    """
    from gesture.inference.recogniser import Recogniser  # imports torch, which takes seconds

    return Recogniser.load(Path(run), accelerator)


def fit(*words: str) -> "Result":
    """Train as `gesture train` does with these words; the result has the fields of result.json as attributes.

    Raises:
        gesture.config.refusals.ConfigError: refused before the start.
        gesture.config.refusals.RunFailed: it failed; its log and result.json say why.
    """
    from gesture.cli.command import run_once  # imports Hydra
    from gesture.train import train

    result: Result = run_once("train", train, list(words))
    return result


def compose(command: str, *words: str) -> Any:
    """The checked configuration of a command, "train" for instance, with these words as typed in a shell.

    Raises:
        gesture.config.refusals.ConfigError: no such command, an unknown setting or a wrong value.
    """
    from gesture.config.compose import compose as composed  # imports Hydra

    return composed(command, words)
