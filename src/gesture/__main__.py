"""gesture: train, evaluate and use networks that recognise hand gestures.

    gesture train data=synthetic experiment=fast
    gesture predict run=logs/resnet18/<run> input=hand.png

`python -m gesture train ...` and `python -m gesture.train ...` are the same.
"""

import runpy
import sys
from importlib.metadata import version

from gesture.config.refusals import nearest
from gesture.console import surviving_closed_pipes

COMMANDS = {
    "train": "train a network, test it, record the run; -m for many",
    "audit": "what a data set and a split really hold, before any training",
    "evaluate": "test finished runs: again, on other images, or several as one",
    "predict": "name the gesture in each image",
    "compare": "make one answer of many runs: a table, intervals over people, differences",
}


def main() -> None:
    """Call the command that the first word names."""
    with surviving_closed_pipes():
        _call()


def _call() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name == "--version":
        print(f"gesture {version('gesture')}")
    elif name in ("--help", "-h", "help"):
        print(f"{__doc__}\nCommands (gesture <command> --help tells more)")
        print("\n".join(f"  {command:<10}{meaning}" for command, meaning in COMMANDS.items()))
    elif name in COMMANDS:
        # As `python -m gesture.train` does, which is how Lightning starts the other processes of a distributed run.
        del sys.argv[1]
        runpy.run_module(f"gesture.{name}", run_name="__main__", alter_sys=True)
    else:
        print(f"gesture: {name!r} is no command: {nearest(name, list(COMMANDS))}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
