"""What a network looked at: Grad-CAM (Selvaraju et al., 2017) over its last feature maps."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from gesture.config.refusals import ConfigError
from gesture.data.decode import Images
from gesture.model import checkpoint
from gesture.model.network import GestureNetwork

Looked = Float32[np.ndarray, "n height width"]
EXTRA = "explain=true needs the extra 'explain': pip install 'captum==0.9.0'."
FINE_ENOUGH = 16
"""Values of a map that shows where something is. Small images leave 2 x 3 at a network's end, all much alike."""
SMALLEST = 1e-30
"""A map whose values differ by less shows nothing."""


def explainer() -> Callable[[Path, Images, Sequence[int]], Looked]:
    """`looked_at` of a checkpoint's network.

    Raises:
        ConfigError: captum is not installed.
    """
    try:
        import captum.attr  # noqa: F401
    except ImportError as error:
        raise ConfigError(EXTRA) from error

    def explain(path: Path, images: Images, gestures: Sequence[int]) -> Looked:
        return looked_at(checkpoint.network_of(checkpoint.read(path), path), images, gestures)

    return explain


def looked_at(network: GestureNetwork, images: Images, gestures: Sequence[int]) -> Looked:
    """How much each pixel spoke for a gesture, [K, H, W] from each image's least, 0, to its most, 1.

    Grad-CAM's coarse map, only what speaks for the gesture, stretched over the image; 0 where nothing does.

    Args:
        network: a trained one; it computes in float32, where it is.
        images: uint8 [K, H, W]
        gestures: [K] indices into the network's outputs.

    Raises:
        ConfigError: the backbone has no feature maps near its end.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    network = network.float().eval()
    device = next(network.parameters()).device
    inputs = torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1).to(device).float() / 255
    layer = last_feature_maps(network, inputs[:1])
    targets = torch.tensor(list(gestures), device=device)
    coarse = LayerGradCam(network, layer).attribute(inputs, targets, relu_attributions=True)
    maps: Tensor = LayerAttribution.interpolate(coarse, images.shape[1:], "bilinear")[:, 0].detach()
    least, most = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    shown: Looked = ((maps - least) / (most - least).clamp(min=SMALLEST)).cpu().numpy()
    return shown


def last_feature_maps(network: GestureNetwork, images: Tensor) -> nn.Module:
    """The last module of the backbone that gives maps [B, C, h, w] of `FINE_ENOUGH` values or more.

    Raises:
        ConfigError: there is none behind the first convolution, as in vision transformers.
    """
    found: list[nn.Module] = []

    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:].numel() >= FINE_ENOUGH:
            found.append(module)

    hooks = [module.register_forward_hook(note) for module in network.backbone.modules()]
    with torch.inference_mode():
        network(images)
    for hook in hooks:
        hook.remove()
    if len(found) < 2:
        raise ConfigError("explain=true needs a convolutional backbone and images large enough for maps at its end.")
    return found[-1]
