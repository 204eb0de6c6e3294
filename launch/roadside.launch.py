"""One roadside unit: ros2 launch cooptrack_ros roadside.launch.py namespace:=rsu."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction

from cooptrack_ros import launch_parts as parts


def start(context: LaunchContext) -> list:
    """Profile and node."""
    return [*parts.security(context), *parts.dds_profile(context, 1), parts.agent_node(context, "roadside_node", {})]


def generate_launch_description() -> LaunchDescription:
    """Arguments and what follows from them."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="rsu", description="name of the roadside unit"),
            *parts.agent_arguments(),
            parts.profile_argument("network"),
            OpaqueFunction(function=start),
        ]
    )
