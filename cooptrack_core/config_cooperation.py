"""Configuration of what agents tell each other and what they make of it; a part of config.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from cooptrack_core.config_fields import parameter

LATENCY_METHODS = ("none", "reported", "kinematic", "flow")
PRECISIONS = ("none", "fp32", "fp16", "int8", "rvq")  # of features on the air
KINEMATICS = ("fp32", "compact")


@dataclass(frozen=True)
class LatencyConfig:
    """How the instances of a message get from its stamp to that of the vehicle's frame."""

    method: str = parameter(
        "kinematic",
        "none: they stay; reported: by the velocity in the message; kinematic: by velocity and turn rate from the "
        "positions over several messages; flow: those and the features by a learned network that knows the sender's",
        choices=LATENCY_METHODS,
    )
    flow: str = parameter("", "safetensors file of cooptrack fit-flow, for method flow; empty: those that ship")
    history_ms: float = parameter(
        1000.0, "age of the oldest message that tells how an object moves, ms", minimum=100.0, maximum=10000.0
    )
    report_std_m: float = parameter(
        0.3, "standard deviation of a position in a message against those before it, m", minimum=0.01, maximum=10.0
    )
    speed_std_mps: float = parameter(
        10.0, "standard deviation of a reported velocity that comes without one, m/s", minimum=0.01, maximum=50.0
    )
    pedestrian_speed_std_mps: float = parameter(
        1.0, "the same for pedestrians, who count as standing until their positions tell more, m/s", minimum=0.01,
        maximum=10.0,
    )  # fmt: skip
    network_lag_ms: float = parameter(
        30.0, "with detector network: places of moving objects that a sender's network tracks lag by this, ms",
        minimum=0.0, maximum=1000.0,
    )  # fmt: skip
    correct_clock_offset: bool = parameter(
        False, "stamps of an agent are corrected by its estimated clock offset, as far as that is beyond doubt"
    )
    max_clock_offset_ms: float = parameter(
        500.0, "no clock is taken to be farther off than this, ms", minimum=0.0, maximum=10000.0
    )


@dataclass(frozen=True)
class AdmissionConfig:
    """Which messages a vehicle admits; each refusal has a name and a counter."""

    max_age_ms: float = parameter(
        1500.0, "older messages (perception time) are refused as stale, ms", minimum=0.0, maximum=10000.0
    )
    clock_tolerance_ms: float = parameter(
        100.0,
        "a message may be this much ahead of the ego frame before it counts as from the future, ms",
        minimum=0.0,
        maximum=10000.0,
    )
    max_instances: int = parameter(512, "more instances than this are refused", minimum=1, maximum=65535)
    max_message_bytes: int = parameter(
        4_194_304, "larger messages are refused, bytes", minimum=1000, maximum=100_000_000
    )
    max_range_m: float = parameter(
        250.0, "an instance farther from its sender makes the message implausible, m", minimum=1.0, maximum=5000.0
    )
    range_tolerance_m: float = parameter(
        5.0, "an instance may lie this far outside the range that its sender declares, m", minimum=0.0, maximum=1000.0
    )
    undeclared_range_m: float = parameter(
        115.0, "the range, all around, of a sender that declares none, as in compact messages, m; the presets see no "
        "farther", minimum=1.0, maximum=5000.0,
    )  # fmt: skip
    max_rate_hz: float = parameter(
        30.0, "more messages per second of one agent are refused; a second's worth may come at once, Hz", minimum=0.1,
        maximum=1000.0,
    )  # fmt: skip
    silence_warning_ms: float = parameter(
        1000.0, "an agent not heard for this long is reported in diagnostics, ms", minimum=100.0, maximum=60000.0
    )


@dataclass(frozen=True)
class PoseCorrectionConfig:
    """Errors of the poses of other agents: averaged where a sender stands still, learned from what was paired."""

    enabled: bool = parameter(True, "poses of messages are corrected before use")
    window_s: float = parameter(
        5.0, "a sender that stands still has the mean pose of so long, s", minimum=0.1, maximum=600.0
    )
    expected_shift_m: float = parameter(
        1.0, "how wrong a pose may well be, standard deviation, m; 0.001: never", minimum=0.001, maximum=10.0
    )
    expected_yaw_deg: float = parameter(0.7, "the same of its yaw, degrees", minimum=0.001, maximum=10.0)
    drift_m_per_sqrt_s: float = parameter(
        0.05, "how fast that changes, m per square root of s", minimum=0.0, maximum=10.0
    )
    pair_std_m: float = parameter(
        0.4, "standard deviation of how far both agents put one object apart, m", minimum=0.01, maximum=10.0
    )
    pair_std_along_per_m: float = parameter(
        0.2, "more of it along the own ray, per m of the own distance", minimum=0.0, maximum=1.0
    )
    pair_std_across_per_m: float = parameter(0.01, "the same across the ray", minimum=0.0, maximum=1.0)
    max_shift_m: float = parameter(3.0, "no more is taken away, m", minimum=0.0, maximum=100.0)
    max_yaw_deg: float = parameter(3.0, "nor more yaw, degrees", minimum=0.0, maximum=45.0)


@dataclass(frozen=True)
class RedundancyConfig:
    """What a receiver can foresee is not sent again, but listed as held; deviations beyond these send it anew."""

    refresh_ms: float = parameter(
        0.0, "an instance is sent anew at the latest after this time; 0: all are sent in every message, ms",
        minimum=0.0, maximum=1000.0,
    )  # fmt: skip
    position_m: float = parameter(
        0.2, "an instance is sent where it is farther than this from where the receiver expects it, m", minimum=0.01,
        maximum=10.0,
    )  # fmt: skip
    heading_rad: float = parameter(0.1, "the same for its heading, rad", minimum=0.001, maximum=3.2)
    score: float = parameter(0.1, "the same for its score", minimum=0.001, maximum=1.0)


@dataclass(frozen=True)
class SendingConfig:
    """What an agent tells others, and in how many bytes."""

    max_instances: int = parameter(
        100, "largest number of instances in a message; the best-scored are sent", minimum=1, maximum=1000
    )
    feature_precision: str = parameter(
        "auto",
        "learned features on the air: none, numbers of a format, or rvq: codes of a codebook (docs/wire.md); auto: rvq "
        "where the weights have a codebook, else fp16",
        choices=("auto", *PRECISIONS),
    )
    feature_codes: int = parameter(
        4, "codes (bytes) per stream and instance of rvq, as far as the codebook has them", minimum=1, maximum=64
    )
    feature_streams: str = parameter(
        "needed", "needed: a stream that vehicles of this network recompute is not sent; all: every stream",
        choices=("needed", "all"),
    )  # fmt: skip
    kinematics_precision: str = parameter(
        "compact", "kinematics on the air: single precision, or compact: 15 bytes an instance (docs/wire.md)",
        choices=KINEMATICS,
    )  # fmt: skip
    budget_bytes_per_s: int = parameter(
        0, "bytes per second that messages may take; 0: no limit; what has no room is counted as withheld", minimum=0,
        maximum=100_000_000,
    )  # fmt: skip
    max_message_bytes: int = parameter(
        64_000, "largest message, bytes; 1398: one packet", minimum=600, maximum=4_194_304
    )
    redundancy: RedundancyConfig = field(default_factory=RedundancyConfig)


@dataclass(frozen=True)
class VehicleSendingConfig(SendingConfig):
    """The same of a vehicle, of whose features no other vehicle makes anything."""

    feature_precision: str = parameter(
        "none", "learned features on the air; none: kinematics only, which is what vehicles use of one another",
        choices=("auto", *PRECISIONS),
    )  # fmt: skip
