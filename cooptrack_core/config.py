"""Configuration as frozen dataclasses; the ROS parameters and their YAML files are generated from these fields."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

from cooptrack_core.config_cooperation import (
    KINEMATICS as KINEMATICS,
)
from cooptrack_core.config_cooperation import (
    LATENCY_METHODS as LATENCY_METHODS,
)
from cooptrack_core.config_cooperation import (
    PRECISIONS as PRECISIONS,
)
from cooptrack_core.config_cooperation import (
    AdmissionConfig as AdmissionConfig,
)
from cooptrack_core.config_cooperation import (
    LatencyConfig as LatencyConfig,
)
from cooptrack_core.config_cooperation import (
    PoseCorrectionConfig as PoseCorrectionConfig,
)
from cooptrack_core.config_cooperation import (
    RedundancyConfig as RedundancyConfig,
)
from cooptrack_core.config_cooperation import (
    SendingConfig as SendingConfig,
)
from cooptrack_core.config_cooperation import (
    VehicleSendingConfig as VehicleSendingConfig,
)
from cooptrack_core.config_fields import ParameterSpec as ParameterSpec
from cooptrack_core.config_fields import parameter as parameter
from cooptrack_core.trust_config import TrustConfig
from cooptrack_core.types import CooptrackError

MODES = ("ego", "late", "distance", "learned")
MODE_NAMES = {  # for readers
    "ego": "vehicle alone", "late": "late fusion", "distance": "distance matching", "learned": "learned fusion",
}  # fmt: skip
LEARNED_MODES = ("distance", "learned")  # cooperate by features, which only a network has
DETECTORS = ("simulated", "network")
DEFAULT_DETECTOR = "network"
DEVICES = ("auto", "cpu", "cuda")
ENGINES = ("torch", "eager", "onnxruntime")
NETWORK_PRECISIONS = ("fp32", "bf16", "fp16")
NETWORK_FAMILIES = ("tiny", "r50", "r101", "convnext_s", "official_r50")
NETWORK_VARIANTS = (  # of tiny, to compare with
    "tiny-univ2x", "tiny-before", "tiny-nocaa", "tiny-nomdfe", "tiny-vehicleboxes", "tiny-seenaffinity",
    "tiny-unlocated", "tiny-h0", "tiny-h1", "tiny-h2", "tiny-h3",
)  # fmt: skip
UNTRAINED = "untrained"  # instead of weights: random numbers
SHIPPED_WEIGHTS = "tiny"  # those that networks have unless told otherwise


@dataclass(frozen=True)
class TrackerConfig:
    """Object-level tracker after AB3DMOT: constant-velocity Kalman filter, Hungarian assignment, counted life cycle."""

    birth_hits: int = parameter(3, "frames with a measurement before a track is reported", minimum=1, maximum=20)
    max_coast_ms: float = parameter(
        450.0, "time without a measurement after which a track dies, ms", minimum=0.0, maximum=5000.0
    )
    tentative_coast_ms: float = parameter(
        250.0, "the same for a track that is not yet reported, ms", minimum=0.0, maximum=5000.0
    )
    gate_m: float = parameter(
        4.0, "largest centre distance between a track's prediction and a measurement, m", minimum=0.1, maximum=50.0
    )
    gate_pedestrian_m: float = parameter(2.0, "the same for pedestrians, m", minimum=0.1, maximum=50.0)
    measurement_std_m: float = parameter(
        0.4, "standard deviation of a measured position where the detector gives none, m", minimum=0.01, maximum=10.0
    )
    heading_std_rad: float = parameter(
        0.15, "standard deviation of a measured heading, rad", minimum=0.001, maximum=3.2
    )
    size_std_m: float = parameter(0.3, "standard deviation of a measured size, m", minimum=0.001, maximum=10.0)
    velocity_std_mps: float = parameter(
        1.0, "standard deviation of a velocity reported with an instance, m/s", minimum=0.01, maximum=50.0
    )
    acceleration_std_mps2: float = parameter(
        5.0, "process noise: acceleration of road users, m/s^2", minimum=0.01, maximum=50.0
    )
    initial_speed_std_mps: float = parameter(
        8.0, "standard deviation of the unknown speed of a new track, m/s", minimum=0.1, maximum=50.0
    )
    max_frame_gap_ms: float = parameter(
        2000.0, "a longer gap between two frames starts the tracker anew, ms", minimum=100.0, maximum=60000.0
    )


@dataclass(frozen=True)
class LateFusionConfig:
    """Object-level fusion of ego detections with the instances of other agents."""

    gate_m: float = parameter(3.5, "largest centre distance of a pair, m", minimum=0.1, maximum=20.0)
    gate_pedestrian_m: float = parameter(1.8, "the same for pedestrians, m", minimum=0.1, maximum=20.0)
    ego_std_m: float = parameter(
        0.4, "standard deviation of an ego position that reports none, m", minimum=0.01, maximum=10.0
    )
    remote_std_m: float = parameter(
        0.6, "the same for a remote instance, alignment error included, m", minimum=0.01, maximum=10.0
    )
    speed_std_mps: float = parameter(
        1.0, "growth of a remote position's uncertainty with message age, m per s", minimum=0.0, maximum=20.0
    )
    min_remote_score: float = parameter(
        0.2,
        "a remote instance below this score confirms an ego detection but starts no track",
        minimum=0.0,
        maximum=1.0,
    )
    ego_score_scale: float = parameter(
        1.0, "an ego score s counts as sigmoid(scale logit(s) + offset); as `cooptrack tune` fits it", minimum=0.01,
        maximum=20.0,
    )  # fmt: skip
    ego_score_offset: float = parameter(
        0.0, "the offset of ego scores; 0 with scale 1: as they are", minimum=-20.0, maximum=20.0
    )
    remote_score_scale: float = parameter(
        1.0, "the scale of scores received; min_remote_score applies to what comes out", minimum=0.01, maximum=20.0
    )
    remote_score_offset: float = parameter(0.0, "the offset of scores received", minimum=-20.0, maximum=20.0)
    vehicle_length_m: float = parameter(
        4.6, "length of the own vehicle, which others report as well, m", minimum=0.0, maximum=30.0
    )
    vehicle_width_m: float = parameter(1.9, "width of the own vehicle, m", minimum=0.0, maximum=10.0)


@dataclass(frozen=True)
class NetworkConfig:
    """The network of an agent with `detector: network`."""

    preset: str = parameter(
        "tiny", "family of presets; the agent adds its role", choices=NETWORK_FAMILIES + NETWORK_VARIANTS
    )
    weights: str = parameter(
        SHIPPED_WEIGHTS,
        "safetensors file, or the name of shipped weights; 'untrained': random numbers, and it says so",
    )
    device: str = parameter("auto", "where the network runs; auto: the GPU if there is one", choices=DEVICES)
    engine: str = parameter(
        "torch", "how the network computes: torch (prepared for speed), onnxruntime, or eager (the plain modules)",
        choices=ENGINES,
    )  # fmt: skip
    precision: str = parameter(
        "fp32", "numbers that the network computes with; bf16 and fp16 are for GPUs, and for CPUs that have them",
        choices=NETWORK_PRECISIONS,
    )  # fmt: skip
    threads: int = parameter(
        0, "CPU threads of the network; 0: half of the cores, for vehicle and roadside on one machine", minimum=0,
        maximum=256,
    )  # fmt: skip
    seed: int = parameter(0, "seed of untrained weights and of random choices", minimum=0, maximum=2**31 - 1)
    codebook: str = parameter(
        "",
        "safetensors file of cooptrack fit-codebook; empty: the one beside the weights or that ships, if of them",
    )
    rules: str = parameter(
        "", "thresholds and rules that are other than the weights have them, NAME=VALUE with commas (docs/network.md)"
    )


@dataclass(frozen=True)
class RoadsideConfig(SendingConfig):
    """A roadside unit: what it detects with and what it sends."""

    detector: str = parameter(DEFAULT_DETECTOR, "source of the instances", choices=DETECTORS)
    min_score: float = parameter(
        0.1, "detections of detector simulated below this score are ignored", minimum=0.0, maximum=1.0
    )
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)


@dataclass(frozen=True)
class VehicleConfig:
    """A vehicle: how it perceives, cooperates and tracks."""

    mode: str = parameter(
        "learned",
        "cooperation: ego (none), late (object level), learned or distance (features, associated by the network or by "
        "distance)",
        choices=MODES,
    )
    detector: str = parameter(DEFAULT_DETECTOR, "source of the instances", choices=DETECTORS)
    min_score: float = parameter(
        0.1, "detections below this score are ignored; of a network in mode late", minimum=0.0, maximum=1.0
    )
    publish_instances: bool = parameter(False, "tell other vehicles what this one measures itself, on `instances`")
    messages: VehicleSendingConfig = field(default_factory=VehicleSendingConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    late: LateFusionConfig = field(default_factory=LateFusionConfig)
    admission: AdmissionConfig = field(default_factory=AdmissionConfig)
    pose_correction: PoseCorrectionConfig = field(default_factory=PoseCorrectionConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)


def default_mode(detector: str) -> str:
    """The cooperation of a vehicle with this detector where none is chosen."""
    return "learned" if detector == "network" else "late"


def specs(cls: type[Any], prefix: str = "") -> list[ParameterSpec]:
    """Every leaf parameter of a configuration class, nested ones with dotted names."""
    found: list[ParameterSpec] = []
    hints = get_type_hints(cls)
    for item in fields(cls):
        if is_dataclass(hints[item.name]):
            found += specs(hints[item.name], f"{prefix}{item.name}.")
            continue
        assert item.default is not MISSING
        found.append(ParameterSpec(prefix + item.name, item.default, **item.metadata))
    return found


def values_of(config: Any) -> dict[str, Any]:
    """Every leaf parameter of a configuration by dotted name."""
    return {spec.name: functools.reduce(getattr, spec.name.split("."), config) for spec in specs(type(config))}


def changed_values(config: Any) -> dict[str, Any]:
    """Those that are not the defaults."""
    values = values_of(config)
    return {spec.name: values[spec.name] for spec in specs(type(config)) if values[spec.name] != spec.default}


def from_parameters(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """An instance of cls from dotted names; what is not named keeps its default.

    Raises CooptrackError naming the parameter, the value and what is allowed.
    """
    known = {spec.name: spec for spec in specs(cls)}
    for name in values:
        if name not in known:
            raise CooptrackError(f"parameter {name}: unknown; known are {', '.join(sorted(known))}")
    checked = {name: _checked(known[name], value) for name, value in values.items()}
    return _build(cls, checked, "")


def _build(cls: type[Any], values: Mapping[str, Any], prefix: str) -> Any:
    hints = get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for item in fields(cls):
        name = prefix + item.name
        if is_dataclass(hints[item.name]):
            arguments[item.name] = _build(hints[item.name], values, f"{name}.")
        elif name in values:
            arguments[item.name] = values[name]
    return cls(**arguments)


def _checked(spec: ParameterSpec, value: Any) -> Any:
    kind = type(spec.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise CooptrackError(f"parameter {spec.name}: {value!r} is not of type {kind.__name__}")
    if spec.choices is not None and value not in spec.choices:
        raise CooptrackError(f"parameter {spec.name}: {value!r} is unknown; choose one of {', '.join(spec.choices)}")
    if kind in (int, float):
        low = -math.inf if spec.minimum is None else spec.minimum
        high = math.inf if spec.maximum is None else spec.maximum
        if not low <= value <= high:
            raise CooptrackError(f"parameter {spec.name}: {value!r} is outside {low:g} .. {high:g}")
    return value
