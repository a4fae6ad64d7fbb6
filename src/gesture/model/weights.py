"""Pretrained backbones: torchvision's by name, or a local file."""

import hashlib
import logging
import pickle
import re
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from gesture.config import WEIGHT_FILES, BackboneConfig, ConfigError

log = logging.getLogger(__name__)

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.pth$")
SIDE_OUTPUTS = ("aux1.", "aux2.", "AuxLogits.")
SHOWN_KEYS = 3


def load_backbone_weights(backbone: nn.Module, config: BackboneConfig) -> None:
    """Fill a backbone with `config.weights`: none, one of torchvision's names for this backbone, or a .pth file.

    A file may lack the backbone's last layer, which then starts from scratch.

    Raises:
        ConfigError: an unknown name, no such file, a file that is damaged, unsafe or made for another network.
        OSError: a file that is not there; a configuration with one is refused before.
    """
    name, weights = config.name, config.weights
    if weights == "none":
        return
    is_file = weights.endswith(WEIGHT_FILES)
    state = _read(Path(weights).expanduser()) if is_file else _fetch(name, weights)
    _fill(backbone, state, f"backbone.weights='{weights}'", name)


def _fetch(name: str, weights: str) -> dict[str, Tensor]:
    known = torchvision.models.get_model_weights(name)
    if weights not in known.__members__:
        names = ", ".join(known.__members__)
        raise ConfigError(f"backbone.weights='{weights}' is unknown for {name}: choose none, {names}, or a .pth file.")
    try:
        state: dict[str, Tensor] = known[weights].get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise ConfigError(
            f"backbone.weights={weights} of {name} could not be downloaded ({error}): give a local .pth file instead."
        ) from error
    return state


def _read(path: Path) -> dict[str, Tensor]:
    _check_hash(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"backbone.weights='{path}' is damaged or holds more than plain tensors, and is not loaded: {first_line}"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"backbone.weights='{path}' holds no state dict of tensors: save network.state_dict().")
    return state


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
