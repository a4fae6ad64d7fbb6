"""Optimizers and schedulers by their configuration's names."""

from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau

from gesture.config import OptimizerConfig, SchedulerConfig
from gesture.model.network import GestureNetwork

CLASSES: dict[str, type[Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}

FUSED_ON = ("cpu", "cuda")
"""Where one pass over memory updates all parameters."""


def build_optimizer(network: GestureNetwork, config: OptimizerConfig, backbone_factor: float) -> Optimizer:
    """The optimizer of a network whose backbone learns at `backbone_factor` times the rate of stem and head."""
    options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.momentum is not None:
        options["momentum"] = config.momentum
    if next(network.parameters()).device.type in FUSED_ON:
        options["fused"] = True
    groups: list[dict[str, Any]] = [
        {"params": [*network.stem.parameters(), *network.head.parameters()]},
        {"params": list(network.backbone.parameters()), "lr": config.lr * backbone_factor},
    ]
    return CLASSES[config.name](groups, **options)


def build_scheduler(optimizer: Optimizer, config: SchedulerConfig, total_steps: int) -> dict[str, Any] | None:
    """The scheduler in the form Lightning takes; None for a constant rate."""
    rates = [group["lr"] for group in optimizer.param_groups]
    if config.name == "cosine":
        return {"scheduler": CosineAnnealingLR(optimizer, total_steps), "interval": "step"}
    if config.name == "onecycle":
        scheduler = OneCycleLR(optimizer, rates, total_steps, pct_start=_given(config.warmup_fraction))
        return {"scheduler": scheduler, "interval": "step"}
    if config.name == "plateau":
        plateau = ReduceLROnPlateau(optimizer, factor=_given(config.factor), patience=_given(config.patience))
        return {"scheduler": plateau, "interval": "epoch", "monitor": "val/loss"}
    return None


def _given(value: Any) -> Any:
    assert value is not None, "the scheduler's group file sets it"
    return value
