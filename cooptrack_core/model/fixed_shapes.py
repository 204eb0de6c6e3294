"""The network's frame as a function of tensors whose shapes never change: for export, ONNX Runtime and CUDA graphs.

What depends on the data in shape stays between such functions, in Python: the assignment of pairs, completion, ids and
the life of tracks (model/association.py, completion.py, life_cycle.py). Padded queries need nothing: their number N is
fixed already, since fresh ones fill the rows that live tracks leave.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import fields

import torch
from torch import Tensor, nn

from cooptrack_core.model.agent_model import AgentModel, Perception
from cooptrack_core.model.decoder import DecoderOutput
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.proposals import Proposals
from cooptrack_core.model.queries import Queries
from cooptrack_core.model.retyped import retyped
from cooptrack_core.stage_clock import stage

Tensors = tuple[Tensor, ...]
Run = Callable[[Tensors], Tensors]  # inputs in the order of frame_inputs() -> outputs in that of frame_outputs()

FRAME_STAGE = "frame graph"  # what a profile calls it: image to history in one

_FRAME = ("image", "lidar2img", "can_bus", "prev_bev", "bev_known")
# What the frame up to history reasoning reads of its queries, and what it leaves of them; the rest passes by.
_READ = (
    "ref_pts", "query_embeds", "query_feats", "boxes", "logits", "scores", "history_feats", "history_motion",
    "history_padding", "is_track", "measured",
)  # fmt: skip
_DECODED = (
    "ref_pts", "query_embeds", "query_feats", "motion_feats", "boxes", "logits", "scores", "measured",
)  # fmt: skip
_REASONED = ("query_feats", "motion_feats", "history_feats", "history_motion", "history_padding")
_DECODER = ("logits", "boxes", "last_ref_pts", "feats")


def frame_inputs(config: ModelConfig) -> tuple[str, ...]:
    """Names of the inputs of a frame, in order."""
    return _FRAME + tuple(f"query_{name}" for name in _used(_READ, config))


def frame_outputs(config: ModelConfig) -> tuple[str, ...]:
    """Names of the outputs of a frame, in order."""
    peaks = tuple(item.name for item in fields(Proposals)) if config.proposals else ()
    return (
        "bev",
        *(f"decoder_{name}" for name in _DECODER),
        *(f"decoded_{name}" for name in _DECODED),
        *(f"out_{name}" for name in _used(_REASONED, config)),
        *(f"peak_{name}" for name in peaks),
    )


def _used(names: Sequence[str], config: ModelConfig) -> tuple[str, ...]:
    """Without the history of networks that have none: ONNX has no empty inputs."""
    return tuple(name for name in names if config.history_length or not name.startswith("history"))


def fixed(model: AgentModel) -> AgentModel:
    """A copy in eval mode in which no shape depends on the data; it gives the same to about 1e-5.

    Parameters and buffers are those of the model itself.
    """
    shared = {id(value): value for value in (*model.parameters(), *model.buffers())}
    model = copy.deepcopy(model, shared).eval()
    model.bev_encoder.short_cuts = model.reasoner.short_cuts = False  # they depend on what is seen
    if model.config.cooperative and model.config.fusion == "graph":
        model.alignment.fixed_shapes = True
        model.aggregation.fixed_shapes = True
    return model


class FrameGraph(nn.Module):
    """A network up to history reasoning as a function of tensors; a batch of one."""

    def __init__(self, model: AgentModel) -> None:
        super().__init__()
        self.model = fixed(model)

    def forward(self, *inputs: Tensor) -> Tensors:
        """frame_inputs() -> frame_outputs()."""
        config = self.model.config
        given = dict(zip(frame_inputs(config), inputs, strict=True))
        queries = self.model.fresh_queries().map(lambda value: value[None])
        queries = queries.with_(**{name[6:]: value for name, value in given.items() if name.startswith("query_")})
        seen = self.model.perceive(
            given["image"],
            given["lidar2img"],
            given["can_bus"],
            queries,
            given["prev_bev"],
            all_layers=False,
            bev_known=given["bev_known"],
        )
        return perception_tensors(seen, config)


class FixedShapeNetwork(AgentModel):
    """A network whose frame another engine computes; everything else it does itself.

    Frames that the engine is not made for (a batch, all decoder layers) go the usual way.
    """

    _run_frame: Run

    @staticmethod
    def of(model: AgentModel, run: Run) -> FixedShapeNetwork:
        """run: from the tensors of frame_inputs() to new tensors in the order of frame_outputs()."""
        made = retyped(model, FixedShapeNetwork)
        made._run_frame = run
        return made

    def perceive(
        self,
        images: Tensor,
        lidar2img: Tensor,
        can_bus: Tensor,
        queries: Queries,
        prev_bev: Tensor | None,
        *,
        all_layers: bool = True,
        bev_known: Tensor | None = None,
    ) -> Perception:
        """As AgentModel.perceive."""
        if all_layers or queries.scores.shape != (1, self.config.num_queries):
            return super().perceive(
                images, lidar2img, can_bus, queries, prev_bev, all_layers=all_layers, bev_known=bev_known
            )
        inputs = frame_tensors(self.config, images, lidar2img, can_bus, queries, prev_bev, bev_known)
        with stage(FRAME_STAGE):
            outputs = self._run_frame(inputs)
        return _perception(outputs, queries, self.config)


def frame_tensors(
    config: ModelConfig,
    images: Tensor,
    lidar2img: Tensor,
    can_bus: Tensor,
    queries: Queries,
    prev_bev: Tensor | None,
    bev_known: Tensor | None = None,
) -> Tensors:
    """The arguments of AgentModel.perceive in the order of frame_inputs(); a first frame has a grid of zeros."""
    if bev_known is None:
        bev_known = torch.tensor([prev_bev is not None], device=images.device)
    if prev_bev is None:
        prev_bev = images.new_zeros(1, config.bev_cells, config.embed_dims)
    read = (getattr(queries, name) for name in _used(_READ, config))
    return (images, lidar2img, can_bus, prev_bev, bev_known, *read)


def perception_tensors(seen: Perception, config: ModelConfig) -> Tensors:
    """What a frame gives, in the order of frame_outputs()."""
    peaks = () if seen.peaks is None else tuple(getattr(seen.peaks, item.name) for item in fields(Proposals))
    return (
        seen.bev,
        *(getattr(seen.decoder, name) for name in _DECODER),
        *(getattr(seen.decoded, name) for name in _DECODED),
        *(getattr(seen.queries, name) for name in _used(_REASONED, config)),
        *peaks,
    )


def _perception(outputs: Tensors, queries: Queries, config: ModelConfig) -> Perception:
    """The outputs beside what of the [1, N] queries passes by; the dense maps of an image head are not among them."""
    found = dict(zip(frame_outputs(config), outputs, strict=True))

    def taken(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}

    decoded = queries.with_(**taken("decoded_"))
    peaks = taken("peak_")
    return Perception(
        found["bev"],
        DecoderOutput(**taken("decoder_")),
        decoded,
        decoded.with_(**taken("out_")),
        peaks=Proposals(**peaks) if peaks else None,
    )
