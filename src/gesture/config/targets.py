"""What a configuration may have executed: launchers, sweepers and callbacks of Hydra's, and handlers of logging."""

import re
from collections.abc import Iterator
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from gesture.config.refusals import ConfigError

CALLED = ("_target_", "()", "class")
"""The keys by which Hydra and Python's logging find what they call."""
HARMLESS = re.compile(
    r"(hydra\._internal\.core_plugins|hydra\.experimental|hydra_plugins\.\w+|gesture\.cli)\.\w+\.[A-Z]\w*"
    r"|logging\.(handlers\.)?[A-Z]\w*|gesture\.console\.[A-Z]\w*"
)
NAMED = "ext://"
"""Begins the name of an object in a configuration of logging, which is imported."""
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's loader, for configurations of which nobody knows who wrote them."""

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        """What is composed.

        Raises:
            ConfigError: it names what is not to be called.
        """
        composed = super().load_configuration(*args, **kwargs)
        _check_targets(composed)
        return composed


def _check_targets(composed: DictConfig) -> None:
    """Look below `hydra`, before anything is called; elsewhere these keys are no settings, which is refused too."""
    for key, value in _values(OmegaConf.to_container(composed.hydra, resolve=False), "hydra"):
        called = key.rpartition(".")[2] in CALLED and value is not None and not HARMLESS.fullmatch(str(value))
        if called or (isinstance(value, str) and value.startswith(NAMED) and value not in STREAMS):
            raise ConfigError(f"{key}={value} is not executed, only what Hydra itself has there: leave it out.")


def _values(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every value of a configuration with its place in it."""
    if isinstance(node, dict | list):
        for name, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _values(inner, f"{key}.{name}")
    else:
        yield key, node
