"""What a node says about its network: a line when it is loaded, and its part of the diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cooptrack_core.perception import Network
from cooptrack_ros.diagnostics import OK, WARN

UNTRAINED = "UNTRAINED random weights: tracks are meaningless"
_TIMES = ("network_ms", "image_age_ms")


def name_of(network: Network) -> str:
    """Preset and the first digits of the fingerprint."""
    return f"{network.preset} {network.fingerprint.hex()[:8]}"


def describe(network: Network, logger: Any) -> None:
    """Logs what was loaded; a warning if it has not been trained."""
    about = network.about
    computed = f"{about['parameters']} parameters on {about['device']}, engine {about.get('engine', 'unknown')}"
    line = f"network {name_of(network)}: {computed}, "
    if network.trained:
        logger.info(f"{line}weights {about['weights']}")
    else:
        logger.warning(f"{line}{UNTRAINED}; give weights by the parameter network.weights")


def network_status(
    network: Network, percentiles: Mapping[str, tuple[float, float]]
) -> tuple[bytes, str, dict[str, object]]:
    """Level, text and items of a status. percentiles: median and 99th of the node's distributions."""
    items: dict[str, object] = {
        "preset": network.preset,
        "fingerprint": network.fingerprint.hex(),
        "trained": network.trained,
        **network.about,
    }
    for name in _TIMES:
        if name in percentiles:
            items |= {f"{name}.p50": percentiles[name][0], f"{name}.p99": percentiles[name][1]}
    if not network.trained:
        return WARN, UNTRAINED, items
    return OK, f"{name_of(network)} on {network.about['device']}", items
