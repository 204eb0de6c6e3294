"""A network ready to run: preset, weights by name, file or seed, device, warm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cooptrack_core.checkpoints import store
from cooptrack_core.checkpoints.store import SUFFIX
from cooptrack_core.config import NetworkConfig
from cooptrack_core.cooperation.codebook import Codebook, load_codebook
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.engine import engine_of
from cooptrack_core.model.precision import note
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.model.rules import fitted, with_rules
from cooptrack_core.model.runtime import Identity, NetworkRuntime
from cooptrack_core.types import CooptrackError

# Of the queries of an untrained network so many score above the threshold: every path is taken.
_UNTRAINED_ACTIVE_SHARE = 0.4
_UNTRAINED_CLASS_GAIN = 4.0


def load_network(config: NetworkConfig, role: str, matcher: str = "affinity") -> NetworkRuntime:
    """The network of an agent. Raises CooptrackError with file, expected and found, and the remedy."""
    device = choose_device(config.device)
    preset = f"{config.preset}_{role}"
    model, identity = network_and_identity(preset, config.weights, config.seed, config.rules)
    path = store.find(config.weights, preset)
    if path is not None:
        roadside = identity.roadside_fingerprint if role == "coop" else identity.fingerprint
        identity = replace(identity, codebook=codebook_of(config, path, roadside))
    engine = engine_of(model, config.engine, config.precision, device)
    about = {"engine": config.engine}
    if config.precision != "fp32":
        about["precision"] = note(config.precision, device)
    network = NetworkRuntime(
        engine, identity, device, seed=config.seed, matcher=matcher, about=about, reduced=config.engine != "eager"
    )
    network.warm_up()
    return network


def network_and_identity(preset: str, weights: str, seed: int = 0, rules: str = "") -> tuple[AgentModel, Identity]:
    """The plain modules of a preset such as `tiny_coop` with their weights. Raises CooptrackError as load_network."""
    path = store.find(weights, preset)
    if path is None:
        return untrained_network(preset, seed, rules)
    checkpoint = store.load(path, preset)
    model = _under(rules, checkpoint.config, checkpoint.state)
    partner = checkpoint.metadata.roadside_fingerprint
    return model, Identity(checkpoint.fingerprint, partner, True, str(path))


def codebook_of(config: NetworkConfig, weights: Path, roadside_fingerprint: bytes | None) -> Codebook | None:
    """The codebook that the configuration names, or the one beside the weights or among those that ship, if theirs.

    (Who trains a vehicle to hear a roadside unit that ships hears its codes.)
    Raises CooptrackError for a named one that belongs to other weights.
    """
    if config.codebook:
        path = Path(config.codebook).expanduser()
        named = load_codebook(path)
        if named.roadside_fingerprint == roadside_fingerprint:
            return named
        what = f"is of the roadside network {named.roadside_fingerprint.hex()[:8]}, not of that of {weights}"
        raise CooptrackError(f"{path}: codebook: {what}; make one with cooptrack fit-codebook")
    beside = weights.with_name(f"{weights.stem.rpartition('_')[0]}_codebook{SUFFIX}")
    shipped = sorted(store.SHIPPED.glob(f"*_codebook{SUFFIX}"))
    found = (load_codebook(path) for path in (beside, *shipped) if path.is_file())
    return next((book for book in found if book.roadside_fingerprint == roadside_fingerprint), None)


def _under(rules: str, config: ModelConfig, state: Mapping[str, Tensor]) -> AgentModel:
    """The network of these weights with some rules changed."""
    changed = with_rules(config, rules)
    model = AgentModel(changed)
    model.load_state_dict(fitted(state, changed))
    return model


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means on this machine."""
    if name == "cuda" and not torch.cuda.is_available():
        raise CooptrackError("device cuda: torch finds no usable GPU; choose cpu or auto, or install a CUDA build")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def untrained_network(preset: str, seed: int, rules: str = "") -> tuple[AgentModel, Identity]:
    """A network with random weights. A vehicle's understands the roadside's of the same family and seed."""
    model = _random(preset, seed)
    partner = None
    if model.config.cooperative:
        roadside = _random(preset.replace("_coop", "_inf"), seed)
        partner = store.fingerprint_of(roadside.config, roadside.state_dict())
    fingerprint = store.fingerprint_of(model.config, model.state_dict())
    model = _under(rules, model.config, model.state_dict())
    _let_some_through(model.eval())  # after the fingerprint: rounding differs between machines
    return model, Identity(fingerprint, partner, False, f"{store.UNTRAINED} (seed {seed})")


def _random(preset: str, seed: int) -> AgentModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AgentModel(get_preset(preset))
    return model


@torch.no_grad()
def _let_some_through(model: AgentModel) -> None:
    """Sets the final class bias by what the network says to noise; otherwise random weights report all or nothing."""
    config, last = model.config, model.heads.class_head[-1]
    assert isinstance(last, nn.Linear)
    if config.proposals:
        model.track_hints.needs_peaks = False  # peaks of a random head mean nothing
    last.weight.mul_(_UNTRAINED_CLASS_GAIN)
    last.bias.zero_()
    height, width = config.image_size
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    ahead = torch.tensor([[width / 2, -width, 0, 0], [height / 2, 0, -width, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    fresh = model.assemble(None).map(lambda value: value[None])
    own = model.perceive(image, ahead[None], torch.zeros(1, 18), fresh, None).queries.select(0)
    if config.cooperative:
        own = model.cooperate(own, model.align([])).queries
    best = model.refine(own).logits.amax(-1).sort(descending=True).values
    threshold = torch.logit(torch.tensor(config.score_threshold))
    last.bias.fill_(float(threshold - best[int(len(best) * _UNTRAINED_ACTIVE_SHARE)]))
