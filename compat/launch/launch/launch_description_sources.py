"""Where launch descriptions come from: Python files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from launch._not_offered import not_offered
from launch.launch_context import LaunchContext
from launch.substitutions import SomeText, perform

if TYPE_CHECKING:
    from launch.launch_description import LaunchDescription

__getattr__ = not_offered(__name__)


class InvalidPythonLaunchFileError(Exception):
    """The file is not a Python launch file."""


class PythonLaunchDescriptionSource:
    """A Python file with the function generate_launch_description()."""

    def __init__(self, launch_file_path: SomeText) -> None:
        self.launch_file_path = launch_file_path

    def get_launch_description(self, context: LaunchContext) -> LaunchDescription:
        """Run the file."""
        path = Path(perform(context, self.launch_file_path))
        if not path.is_file():
            raise FileNotFoundError(f"launch file {path} does not exist")
        spec = importlib.util.spec_from_file_location(f"launch_file_{path.name.partition('.')[0]}", path)
        if spec is None or spec.loader is None:
            raise InvalidPythonLaunchFileError(f"launch file {path} is not Python (*.launch.py)")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not hasattr(module, "generate_launch_description"):
            raise InvalidPythonLaunchFileError(f"launch file {path} has no function generate_launch_description()")
        description: LaunchDescription = module.generate_launch_description()
        return description
