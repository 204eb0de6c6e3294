"""Stand-in for the part of launch that cooptrack's launch files use, for machines without the original.

Offers LaunchDescription, LaunchContext and LaunchService; launch.actions (see there), launch.event_handlers with
OnProcessExit, launch.launch_description_sources with PythonLaunchDescriptionSource and launch.substitutions with
LaunchConfiguration. Not offered: XML and YAML launch files, conditions, groups, other events.
"""

from launch._not_offered import not_offered
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.launch_service import LaunchService
from launch.substitutions import Substitution

__all__ = ["LaunchContext", "LaunchDescription", "LaunchService", "Substitution"]
__getattr__ = not_offered(__name__)
