"""QoS profiles of our topics; every one can be overridden by parameters qos_overrides.<topic>..."""

from __future__ import annotations

from rclpy.qos import QoSProfile, QoSReliabilityPolicy


def reliable(depth: int = 10) -> QoSProfile:
    """Results, and inputs that must not be lost."""
    return QoSProfile(depth=depth, reliability=QoSReliabilityPolicy.RELIABLE)


def best_effort(depth: int = 5) -> QoSProfile:
    """Sensor data and radio."""
    return QoSProfile(depth=depth, reliability=QoSReliabilityPolicy.BEST_EFFORT)
