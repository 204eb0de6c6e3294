"""Node: a process that is given a name, a namespace, parameters and remappings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_prefix
from launch import LaunchContext
from launch._not_offered import not_offered
from launch.actions import ExecuteProcess
from launch.substitutions import SomeText, SubstitutionFailure, perform

__getattr__ = not_offered(__name__)


def find_executable(package: str, executable: str) -> str:
    """Path of lib/<package>/<executable>."""
    path = Path(get_package_prefix(package)) / "lib" / package / executable
    if not path.is_file() or not os.access(path, os.X_OK):
        raise SubstitutionFailure(f"executable '{executable}' not found on the libexec directory '{path.parent}'")
    return str(path)


class Node(ExecuteProcess):
    """A node of `package`; parameters are paths of YAML files and dictionaries, later ones win."""

    def __init__(
        self,
        *,
        package: SomeText,
        executable: SomeText,
        name: SomeText | None = None,
        namespace: SomeText | None = None,
        parameters: Sequence[SomeText | Mapping[str, Any]] | None = None,
        remappings: Sequence[tuple[SomeText, SomeText]] | None = None,
        arguments: Sequence[SomeText] | None = None,
        ros_arguments: Sequence[SomeText] | None = None,
        **process: Any,
    ) -> None:
        super().__init__(cmd=[], **process)
        self.package = package
        self.executable = executable
        self.node_name = name
        self.namespace = namespace
        self.parameters = list(parameters or [])
        self.remappings = list(remappings or [])
        self.arguments = list(arguments or [])
        self.ros_arguments = list(ros_arguments or [])

    def command(self, context: LaunchContext) -> list[str]:
        command = [find_executable(perform(context, self.package), perform(context, self.executable))]
        command += [perform(context, argument) for argument in self.arguments]
        command += ["--ros-args", *(perform(context, argument) for argument in self.ros_arguments)]
        if self.node_name is not None:
            command += ["-r", f"__node:={perform(context, self.node_name)}"]
        if self.namespace is not None:
            command += ["-r", f"__ns:={self._absolute_namespace(context)}"]
        for parameters in self.parameters:
            command += ["--params-file", self._parameter_file(context, parameters)]
        for old, new in self.remappings:
            command += ["-r", f"{perform(context, old)}:={perform(context, new)}"]
        return command

    def _absolute_namespace(self, context: LaunchContext) -> str:
        return "/" + perform(context, self.namespace or "").strip("/")

    def _parameter_file(self, context: LaunchContext, parameters: SomeText | Mapping[str, Any]) -> str:
        if not isinstance(parameters, Mapping):
            return perform(context, parameters)
        node = "/**"
        if self.node_name is not None and self.namespace is not None:
            # An entry under the full name, since one under a wildcard would lose against a file that names the node.
            node = f"{self._absolute_namespace(context).rstrip('/')}/{perform(context, self.node_name)}"
        with tempfile.NamedTemporaryFile("w", prefix="launch_params_", suffix=".yaml", delete=False) as file:
            yaml.safe_dump({node: {"ros__parameters": dict(parameters)}}, file)
        return file.name
