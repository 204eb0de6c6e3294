"""Whether the network can learn: both agents and their cooperation fitted to one short sequence.

The roadside network comes first; then the vehicle's, with the messages of the finished roadside network. It starts
from the trunk of the roadside network, which has learned to see.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.alignment import RemoteInstances
from cooptrack_core.model.image_input import Before, image_input, image_time
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.remote import remote_instances
from cooptrack_core.model.session import NetworkInput
from cooptrack_core.training.carry import CarryOptions
from cooptrack_core.training.recall import Drive, drive
from cooptrack_core.training.sequence import LabelledFrame
from cooptrack_core.training.step import Iteration, Sample, image_losses
from cooptrack_core.types import Message

Progress = Callable[[str, int, float], None]  # agent, steps done, loss


@dataclass(frozen=True)
class OverfitOptions:
    """How the networks are fitted."""

    steps: int = 600  # of each agent
    slots: int = 2  # frames in a step, each of a stream of its own through the sequence
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warm_up_steps: int = 30
    last_rate: float = 0.05  # share of the learning rate at the end of the cosine
    max_gradient_norm: float = 10.0
    by_rule_until: float = 0.5  # share of the vehicle's steps in which pairs for fusion are made by distance
    silent_share: float = 0.25  # of the vehicle's frames come without a message, so that it can drive alone too
    # Small road users seldom overlap by half at first; as tracks they are learned from the start.
    carry: CarryOptions = field(default_factory=lambda: CarryOptions(min_iou=0.1, drop_probability=0.2))
    seed: int = 0


@dataclass(frozen=True)
class Fit:
    """A fitted network and the total loss of every step."""

    model: AgentModel
    losses: list[float]


@dataclass(frozen=True)
class Overfit:
    """Both networks with what they find before and after: the vehicle alone, and with the roadside's messages."""

    roadside: Fit
    vehicle: Fit
    alone_before: Drive
    together_before: Drive
    alone: Drive
    together: Drive
    seconds: float


def overfit(
    frames: Sequence[LabelledFrame],
    roadside: ModelConfig,
    vehicle: ModelConfig,
    options: OverfitOptions,
    progress: Progress = lambda agent, step, loss: None,
) -> Overfit:
    """Fits both networks to the frames of a sequence (training/sequence.py). The same seed gives the same result."""
    started = time.monotonic()
    torch.manual_seed(options.seed)
    # A few frames are to be learned by heart: nothing is dropped out, and any query may do it.
    unit = AgentModel(replace(roadside, dropout=0.0, min_peak_score=0.0))
    rule_steps = round(options.by_rule_until * options.steps)
    changed = replace(vehicle.options, affinity_matching_after_steps=rule_steps)
    car = AgentModel(replace(vehicle, dropout=0.0, min_peak_score=0.0, options=changed))
    alone_before, together_before = (drive(frames, unit, car, mode) for mode in ("ego", "learned"))

    def shown(agent: str) -> Callable[[int, float], None]:
        return lambda step, loss: progress(agent, step, loss)

    own = [frame for frame in frames if frame.event.agent_id == "rsu"]
    unit_fit = fit(unit, [_sample(frame, before, unit) for before, frame in _pairs(own)], options, shown("roadside"))
    take_over(car, unit)
    messages = drive(frames, unit, car, "ego").messages
    own = [frame for frame in frames if frame.event.agent_id == "vehicle"]
    samples = [_sample(frame, before, car, messages.get(frame.event.frame_id)) for before, frame in _pairs(own)]
    car_fit = fit(car, samples, options, shown("vehicle"))
    alone, together = (drive(frames, unit, car, mode) for mode in ("ego", "learned"))
    seconds = time.monotonic() - started
    return Overfit(unit_fit, car_fit, alone_before, together_before, alone, together, seconds)


def fit(
    model: AgentModel, samples: Sequence[Sample], options: OverfitOptions, shown: Callable[[int, float], None]
) -> Fit:
    """Trains on one sequence; every slot walks through it again and again from a start of its own."""
    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, options))
    iteration = Iteration(
        model, options.carry, seed=options.seed, extra=lambda found, batch: image_losses(found, batch, model.config)
    )
    generator = torch.Generator().manual_seed(options.seed)
    losses = []
    model.train()
    for step in range(options.steps):
        starts = (slot * len(samples) // options.slots for slot in range(options.slots))
        batch = [samples[(step + start) % len(samples)] for start in starts]
        silent = torch.rand(len(batch), generator=generator) < options.silent_share
        outcome = iteration([replace(s, messages=()) if quiet else s for s, quiet in zip(batch, silent, strict=True)])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(outcome.total)
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.max_gradient_norm)
        optimizer.step()
        schedule.step()
        losses.append(float(outcome.total.detach()))
        shown(step + 1, losses[-1])
    model.eval()
    return Fit(model, losses)


def _rate(step: int, options: OverfitOptions) -> float:
    """Warm-up, then a cosine."""
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / max(options.steps, 1)))
    return min(1.0, (step + 1) / options.warm_up_steps) * (options.last_rate + (1.0 - options.last_rate) * cosine)


def take_over(model: AgentModel, trained: AgentModel) -> None:
    """Copies all entries that both networks have."""
    own = model.state_dict()
    model.load_state_dict(own | {name: value for name, value in trained.state_dict().items() if name in own})


def _pairs(frames: Sequence[LabelledFrame]) -> list[tuple[LabelledFrame | None, LabelledFrame]]:
    """Every frame with the one before."""
    return list(zip([None, *frames[:-1]], frames, strict=True))


def _sample(
    frame: LabelledFrame, previous: LabelledFrame | None, model: AgentModel, message: Message | None = None
) -> Sample:
    event, config = frame.event, model.config
    T_map = event.frame.T_map_from_sensor
    assert T_map is not None, "labelled frames have a pose"
    stamp_s, before = event.frame.stamp_ns / 1e9, None
    if previous is not None and previous.event.frame.T_map_from_sensor is not None:
        before = Before(previous.event.frame.stamp_ns / 1e9, previous.event.frame.T_map_from_sensor)
    made = image_input(event.frame, config, image_time(before, stamp_s, T_map, event.frame.image_delay_s, config))
    image, lidar2img = torch.from_numpy(made.image), torch.from_numpy(made.lidar2img).float()
    given = NetworkInput(image, lidar2img, T_map, stamp_s)
    truth = frame.truth.within(config.point_range_m)
    messages = [] if message is None else [_received(message, frame, model)]
    return Sample(given, truth, event.sequence_id, messages)


@torch.no_grad()
def _received(message: Message, frame: LabelledFrame, model: AgentModel) -> tuple[RemoteInstances, Tensor]:
    """The instances of a message as the vehicle gets them at the time of a frame, and T_vehicle_from_infra [4, 4]."""
    T_map = frame.event.frame.T_map_from_sensor
    assert T_map is not None and message.T_map_from_sensor is not None, "labelled frames and messages have a pose"
    T = inverse(T_map) @ message.T_map_from_sensor
    dt_s = (frame.event.frame.stamp_ns - message.stamp_ns) / 1e9
    return remote_instances(message, 0, dt_s, T, model.config, model.embed), torch.from_numpy(T).float()


__all__ = ["Fit", "Overfit", "OverfitOptions", "fit", "overfit", "take_over"]
