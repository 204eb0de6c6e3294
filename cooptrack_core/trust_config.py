"""Configuration of how a vehicle judges who sends it messages (docs/trust.md)."""

from __future__ import annotations

from dataclasses import dataclass

from cooptrack_core.config_fields import parameter


@dataclass(frozen=True)
class TrustConfig:
    """How a vehicle judges other agents by what it sees, and how far they may move what it sees."""

    enabled: bool = parameter(True, "judge agents by physics and own sight")
    quarantine: str = parameter(
        "auto", "refuse the messages of agents that have lost trust; auto: with detector simulated, not with "
        "network: roadside networks that place objects badly look like liars", choices=("auto", "always", "never"),
    )  # fmt: skip
    quarantine_below: float = parameter(
        0.3, "an agent whose trust falls below this is quarantined: its messages are refused", minimum=0.0, maximum=1.0
    )
    return_above: float = parameter(
        0.7, "a quarantined agent whose trust rises above this is heard again", minimum=0.0, maximum=1.0
    )
    recovery_per_s: float = parameter(
        0.5, "log-odds of trust that a second without evidence against an agent gives back", minimum=0.0, maximum=100.0
    )
    influence_m: float = parameter(
        2.0, "a track that the own sensor measures is reported at most this far from where it measured it, whatever "
        "others send, m; farther where the own sensor is worse than that, see influence_sigmas, influence_share",
        minimum=0.0, maximum=1000.0,
    )  # fmt: skip
    influence_per_frame_m: float = parameter(
        1.0, "the same for the growth of that distance from one frame to the next, m", minimum=0.0, maximum=1000.0
    )
    influence_sigmas: float = parameter(
        3.0, "both are larger in proportion where this many standard deviations of the own measurements are more",
        minimum=0.0, maximum=100.0,
    )  # fmt: skip
    influence_share: float = parameter(
        0.25, "the same for this share of the range, which a camera may misjudge: 10 m at 40 m; 0 for a sensor that "
        "measures it",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    influence_hold_ms: float = parameter(
        500.0, "time after the last own measurement until which the bound holds, ms", minimum=0.0, maximum=10000.0
    )


__all__ = ["TrustConfig"]
