"""The floors of the house: who may import whom, and what each floor stands without."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "gesture"
MODULES = sorted(SOURCE.rglob("*.py"))

FLOORS = (
    ("config",),
    ("console", "process", "workers", "writing"),
    ("synthetic",),
    ("data",),
    ("model",),
    ("runs",),
    ("evaluation",),
    ("report",),
    ("training",),
    ("inference",),
    ("cli",),
    ("__init__", "__main__", "train", "evaluate", "predict", "audit", "compare"),
)
"""Lower ones first; a module imports from its own floor and those below. Inference stands beside training."""

HEAVY = ("torch", "lightning", "torchmetrics", "matplotlib", "hydra", "omegaconf", "tensorboard")

INSIDE_FUNCTIONS = {
    "__init__.py": "gesture.load and gesture.fit",
    "audit.py": "a command's start",
    "predict.py": "a command's start",
    "compare.py": "a command's start",
    "cli/command.py": "a command's start",
    "cli/arguments.py": "a command's start",
    "cli/launchers.py": "an optional extra",
    "cli/sweeps.py": "an optional extra",
    "config/compose.py": "a command's start",
    "config/words.py": "a command's start",
    "training/experiment.py": "an experiment's start",
    "training/again.py": "an experiment's start",
    "training/evaluation.py": "an experiment's start",
    "evaluate.py": "an optional extra",
    "runs/directory.py": "a command's start: what Hydra made",
    "training/loggers.py": "an optional extra",
    "data/sources/leapgestrecog.py": "an optional extra",
    "inference/explain.py": "an optional extra",
}
"""The files with imports inside of functions, and which of the reasons there are for them."""


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def floor_of(room: str) -> int:
    return next(floor for floor, rooms in enumerate(FLOORS) if room in rooms)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """Each module that a file imports, and whether inside of a function; not what only type checkers read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    inside = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name if node.module == "gesture" else node.module, node in inside) for name in names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_imports_upwards(path: Path) -> None:
    own = floor_of(room_of(path))
    for module, _ in imported(path):
        if module.startswith("gesture."):
            room = module.split(".")[1]
            assert floor_of(room) <= own, f"{name_of(path)} imports {module}"


def test_no_room_imports_its_neighbour_of_another_stage() -> None:
    for path in (SOURCE / "inference").glob("*.py"):
        assert not any(module.startswith("gesture.training") for module, _ in imported(path)), path


def test_imports_stand_inside_functions_only_where_they_save_a_command_from_loading_what_it_does_not_use() -> None:
    found = {name_of(path) for path in MODULES if any(is_inside for _, is_inside in imported(path))}
    assert found == set(INSIDE_FUNCTIONS)


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("gesture.config.compose", (*HEAVY[:4], "numpy", "PIL")),
        ("gesture.data.prepare", HEAVY),
        ("gesture.runs.predictions", HEAVY),
        ("gesture.evaluation.metrics", HEAVY),
        ("gesture.evaluation.audit", HEAVY),
        ("gesture.evaluation.comparison", HEAVY),
        ("gesture.model.network", HEAVY[1:]),
        ("gesture.model.checkpoint", HEAVY[1:]),
        ("gesture.model.hardware", HEAVY[1:]),
        ("gesture.inference.recogniser", HEAVY[1:]),
    ],
)
def test_each_floor_stands_without_what_is_not_its_own(module: str, without: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sorted(set({without!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []


def test_a_recogniser_is_loaded_and_used_without_lightning_and_hydra(run_dir: Path, rendered: Path) -> None:
    image = next(rendered.rglob("*.png"))
    code = (
        f"import sys, gesture; recogniser = gesture.load({str(run_dir)!r}); recogniser.predict([{str(image)!r}])\n"
        f"print(*sorted(set({HEAVY[1:]!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []
