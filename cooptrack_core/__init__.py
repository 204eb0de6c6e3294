"""Cooperative 3D tracking without ROS: data, geometry, tracking, cooperation, evaluation."""

__version__ = "0.1.0"
