"""Networks for agents, made when one is wanted: without `detector: network` nobody needs torch."""

from __future__ import annotations

import os
from pathlib import Path

from cooptrack_core.checkpoints.header import read_header
from cooptrack_core.config import LEARNED_MODES, NetworkConfig, RoadsideConfig, VehicleConfig
from cooptrack_core.perception import Network
from cooptrack_core.types import CooptrackError


def network_of(config: RoadsideConfig | VehicleConfig) -> Network | None:
    """The network that an agent of this configuration needs, if any.

    A vehicle that shares no features may run on weights of a vehicle that was trained alone, too.
    """
    if config.detector != "network":
        return None
    if isinstance(config, RoadsideConfig):
        return make_network(config.network, "inf")
    alone = config.mode not in LEARNED_MODES and read_header(Path(config.network.weights).expanduser()).role == "veh"
    role = "veh" if alone else "coop"
    return make_network(config.network, role, "distance" if config.mode == "distance" else "affinity")


def make_network(config: NetworkConfig, role: str, matcher: str = "affinity") -> Network:
    """The network of a preset family for `inf` (roadside), `coop` (vehicle) or `veh` (vehicle alone), warm.

    Raises CooptrackError with file and remedy for weights that do not fit, or if torch is missing.
    """
    try:
        import torch
    except ImportError:
        raise CooptrackError(
            "detector network: torch is not installed; pip install torch safetensors, or choose detector simulated"
        ) from None
    from cooptrack_core.model.loading import load_network

    # The same offline: the last bit of a sum may depend on the number of threads.
    torch.set_num_threads(config.threads or max(1, (os.cpu_count() or 1) // 2))
    return load_network(config, role, matcher)
