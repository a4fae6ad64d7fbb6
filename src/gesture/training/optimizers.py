"""Optimizers and schedulers by their configuration's names."""

from inspect import signature
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau

from gesture.config.names import FALLING_MONITORS
from gesture.config.schema import SGD, OneCycle, OptimizerConfig, Plateau, SchedulerConfig
from gesture.model.network import GestureNetwork

CLASSES: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}

NEVER = 2**31
"""Epochs."""
FUSED_ON = ("cpu", "cuda")
"""Where one pass over memory updates all parameters."""


def build_optimizer(
    network: GestureNetwork, config: OptimizerConfig, backbone_factor: float, clips_gradients: bool = False
) -> Optimizer:
    """The optimizer of a network whose backbone learns at `backbone_factor` times the rate of stem and head."""
    options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if isinstance(config, SGD):
        options["momentum"] = config.momentum
    kind = CLASSES[config.name]
    can_fuse = "fused" in signature(kind).parameters and next(network.parameters()).device.type in FUSED_ON
    if can_fuse and not clips_gradients:  # in low precision Lightning clips no gradients of a fused optimizer
        options["fused"] = True
    groups: list[dict[str, Any]] = [
        {"params": [*network.stem.parameters(), *network.head.parameters()]},
        {"params": list(network.backbone.parameters()), "lr": config.lr * backbone_factor},
    ]
    return kind(groups, **options)


def build_scheduler(optimizer: Optimizer, config: SchedulerConfig, total_steps: int) -> dict[str, Any] | None:
    """The scheduler in the form Lightning takes; None for a constant rate."""
    rates = [group["lr"] for group in optimizer.param_groups]
    if config.name == "cosine":
        return {"scheduler": CosineAnnealingLR(optimizer, total_steps), "interval": "step"}
    if isinstance(config, OneCycle):
        scheduler = OneCycleLR(optimizer, rates, total_steps, pct_start=config.warmup_fraction)
        return {"scheduler": scheduler, "interval": "step"}
    if isinstance(config, Plateau):
        falls = config.monitor in FALLING_MONITORS
        plateau = ReduceLROnPlateau(
            optimizer, "min" if falls else "max", factor=config.factor, patience=config.patience
        )
        # The classifier steps it: Lightning would once the epoch's checkpoint is written, which would miss the step.
        return {"scheduler": plateau, "monitor": config.monitor, "interval": "epoch", "frequency": NEVER}
    return None
