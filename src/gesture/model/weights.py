"""Weights to begin with: torchvision's by name, a local file, or a run's checkpoint."""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn

from gesture.config.names import WEIGHT_FILES
from gesture.config.refusals import ConfigError, nearest
from gesture.config.schema import BackboneConfig
from gesture.model import checkpoint
from gesture.model.network import GestureNetwork

log = logging.getLogger(__name__)

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.pth$")
SIDE_OUTPUTS = ("aux1.", "aux2.", "AuxLogits.")
SHOWN_KEYS = 3


def load_weights(network: GestureNetwork, config: BackboneConfig) -> None:
    """Fill a network with `config.weights`: none, one of torchvision's names for this backbone, or a file.

    A .pth file fills the backbone and may lack its last layer, which then starts from scratch. A run's checkpoint
    fills the stem and what normalises pixels too: the run goes on with other images or other gestures.

    Raises:
        ConfigError: an unknown name, a file that is damaged, unsafe or made for another network.
        OSError: a file that is not there; a configuration with one is refused before.
    """
    name, weights = config.name, config.weights
    if weights == "none":
        return
    what = f"backbone.weights='{weights}'"
    if not weights.endswith(WEIGHT_FILES):
        _fill(network.backbone, _fetch(name, weights), what, name)
        return
    path = Path(weights).expanduser()
    content = _read(path)
    if isinstance(content, dict) and checkpoint.ENTRY in content:
        checkpoint.check(content, path)
        _go_on_from(network, content, path, what, name)
    else:
        _fill(network.backbone, _state_in(content, what), what, name)


def _fetch(name: str, weights: str) -> dict[str, Tensor]:
    known = torchvision.models.get_model_weights(name)
    if weights not in known.__members__:
        names = ["none", *known.__members__]
        raise ConfigError(
            f"backbone.weights='{weights}' is unknown for {name}: {nearest(weights, names)} It may also be a .pth "
            "file, or the .ckpt of a run of the same backbone."
        )
    try:
        state: dict[str, Tensor] = known[weights].get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise ConfigError(
            f"backbone.weights={weights} of {name} could not be downloaded ({error}): give a local .pth file instead."
        ) from error
    return state


def _read(path: Path) -> Any:
    _check_hash(path)
    try:
        return checkpoint.load(path)
    except OSError:
        raise
    except Exception as error:  # foreign bytes make unpickling raise anything, and advise to execute them
        raise ConfigError(
            f"backbone.weights='{path}' is damaged or holds more than plain tensors, and is not loaded: save the "
            "backbone's state_dict()."
        ) from error


def _state_in(content: Any, what: str) -> dict[str, Tensor]:
    """The state dict that a file is, or that training programs put into one beside other things."""
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"{what} holds no state dict of tensors: save the backbone's state_dict().")
    return state


def _go_on_from(network: GestureNetwork, content: checkpoint.Content, path: Path, what: str, name: str) -> None:
    trained = content["gesture"]["config"]["backbone"]["name"]
    if trained != name:
        raise ConfigError(f"{what} is of a run of backbone.name={trained}, and this is {name}: give one or the other.")
    source = checkpoint.network_of(content, path)
    network.backbone.load_state_dict(source.backbone.state_dict())
    network.stem.load_state_dict(source.stem.state_dict())
    for buffer, value in source.named_buffers(recurse=False):
        network.get_buffer(buffer).copy_(value)
    log.info("%s gives stem and backbone; the head starts from scratch", what)


def _check_hash(path: Path) -> None:
    """torchvision puts the beginning of a file's SHA-256 into its name."""
    promised = HASH_IN_NAME.search(path.name)
    if promised and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(promised[1]):
        raise ConfigError(f"backbone.weights='{path}' is damaged: its SHA-256 does not begin with {promised[1]}.")


def _fill(backbone: nn.Module, state: dict[str, Tensor], what: str, name: str) -> None:
    own = backbone.state_dict()
    state = {key: value for key, value in state.items() if not key.startswith(SIDE_OUTPUTS)}
    last_layer = list(own)[-1].rpartition(".")[0]
    missing = [key for key in own if key not in state and not key.startswith(last_layer + ".")]
    unknown = [key for key in state if key not in own]
    misshapen = [key for key, value in state.items() if key in own and value.shape != own[key].shape]
    for keys, fault in ((missing, "lacks"), (unknown, "has unknown"), (misshapen, "has another shape of")):
        if keys:
            shown = ", ".join(keys[:SHOWN_KEYS]) + (f" and {len(keys) - SHOWN_KEYS} more" if keys[SHOWN_KEYS:] else "")
            raise ConfigError(f"{what} does not fit backbone {name}: it {fault} {shown}. Is it of another network?")
    if any(key not in state for key in own):
        log.info("%s has no %s: that layer starts from scratch", what, last_layer)
    backbone.load_state_dict(state, strict=False)
