"""AdamW for the parameters of a stage, and its state by parameter name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cooptrack_core.training.stage import LoopOptions, Stage

_SEPARATOR = "/"


def adam_w(stage: Stage, options: LoopOptions) -> torch.optim.AdamW:
    """The optimizer; each of its groups keeps its "rate". Raises ValueError for a parameter that nobody would train."""
    groups = [{"rate": 1.0, **group, "params": list(group["params"])} for group in stage.parameter_groups()]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, weight_decay=options.weight_decay)
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    for name, parameter in stage.network.named_parameters():
        if parameter.requires_grad and id(parameter) not in trained:
            raise ValueError(f"stage {stage.name}: {name} wants a gradient and is in no parameter group")
    return optimizer


def flat_state(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """`<parameter>/<moment>` of every parameter that was ever stepped."""
    return {
        f"{name}{_SEPARATOR}{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_state(optimizer: torch.optim.Optimizer, network: nn.Module, flat: Mapping[str, Tensor]) -> None:
    """The reverse of `flat_state`."""
    parameters = dict(network.named_parameters())
    for entry, value in flat.items():
        name, _, key = entry.rpartition(_SEPARATOR)
        parameter = parameters[name]
        # The count of steps stays on the CPU, where AdamW keeps it.
        optimizer.state[parameter][key] = value if key == "step" else value.to(parameter)


__all__ = ["adam_w", "flat_state", "restore_state"]
