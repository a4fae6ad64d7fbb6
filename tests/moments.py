"""A training in a process of its own in which something happens when a function is called."""

import os
import subprocess
import sys
from pathlib import Path

CHILD = """
import importlib, os, signal
from gesture.train import main

place, count, act = os.environ["MOMENT"].split()
module, _, path = place.partition(":")
*owners, name = path.split(".")
owner = importlib.import_module(module)
for each in owners:
    owner = getattr(owner, each)
called, original = 0, getattr(owner, name)

def fill():
    "Take all the room of a disk but for some bytes."
    with open(os.environ["BALLAST"], "wb") as file:
        room = os.fstatvfs(file.fileno())
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - int(os.environ["SPARE"]))

def moment(*args, **kwargs):
    global called
    called += 1
    if called == int(count) and act == "fill":
        fill()
    if called == int(count) and act == "kill-before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if called == int(count) and act == "kill-after":
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, moment)
main()
"""


def train_until(
    moment: str, words: list[str], cwd: Path, ballast: Path | None = None, spare: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a training in which something happens at a moment, "<module>:<function> <which call> <what>".

    What happens is kill-before or kill-after the call, with SIGKILL, or fill: the file `ballast` takes the room of its
    disk but for `spare` bytes.
    """
    env = {**os.environ, "MOMENT": moment, "BALLAST": str(ballast), "SPARE": str(spare)}
    command = [sys.executable, "-c", CHILD, *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
