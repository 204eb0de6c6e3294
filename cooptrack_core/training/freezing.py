"""Which parts of a network learn in which stage (spec 7.1)."""

from __future__ import annotations

from cooptrack_core.model.agent_model import AgentModel

FROZEN = {
    "detection": (),
    "tracking": ("backbone",),
    "cooperation": ("backbone", "neck"),
}


def freeze(model: AgentModel, stage: str) -> None:
    """Takes the gradient from what a stage (a key of FROZEN) leaves as it is, and gives it to the rest.

    Parameters that the published network has and never uses keep what they have.
    """
    for name, module in model.named_children():
        if name != "unused":
            for parameter in module.parameters():
                parameter.requires_grad_(name not in FROZEN[stage])
    for parameter in (model.reference_points, model.query_features):
        parameter.requires_grad_(True)


__all__ = ["FROZEN", "freeze"]
