"""Packages of `pip install .`: the core, and the message definitions it reads and writes bags with."""

from setuptools import find_packages, setup

DEFINITIONS = {"cooptrack_msgs": "cooptrack_msgs/msg", "vision_msgs": "compat/vision_msgs/msg"}

setup(
    packages=[
        *find_packages(include=["cooptrack_core", "cooptrack_core.*"]),
        *(f"cooptrack_core.message_definitions.{package}" for package in DEFINITIONS),
    ],
    package_dir={f"cooptrack_core.message_definitions.{package}": folder for package, folder in DEFINITIONS.items()},
)
