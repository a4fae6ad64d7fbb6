"""How large a network is: layers, parameters and bytes, of the whole and of its parts."""

from typing import Any

from torch import nn


def summarise(network: nn.Module) -> dict[str, Any]:
    """The `network` entry of result.json."""
    return {**_size(network), "parts": {name: _size(part) for name, part in network.named_children()}}


def table(summary: dict[str, Any]) -> str:
    """The same for people, a line a part."""
    lines = [f"{'':<10}{'layers':>8}{'parameters':>14}{'MB':>8}"]
    for name, size in {"network": summary, **summary["parts"]}.items():
        lines.append(f"{name:<10}{size['layers']:>8}{size['parameters']:>14,}{size['bytes'] / 1e6:>8.1f}")
    return "\n".join(lines)


def _size(module: nn.Module) -> dict[str, int]:
    tensors = [*module.parameters(), *module.buffers()]
    return {
        "layers": sum(not any(layer.children()) for layer in module.modules()),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "bytes": sum(tensor.nbytes for tensor in tensors),
    }
