"""Where packages are."""

from __future__ import annotations

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, Substitution
from launch._not_offered import not_offered
from launch.substitutions import SomeText, describe, perform

__getattr__ = not_offered(__name__)


class FindPackageShare(Substitution):
    """Directory share/<package> of an installed package."""

    def __init__(self, package: SomeText) -> None:
        self.package = package

    def perform(self, context: LaunchContext) -> str:
        return str(get_package_share_directory(perform(context, self.package)))

    def describe(self) -> str:
        return f"FindPackageShare({describe(self.package)})"
