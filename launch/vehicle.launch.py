"""One vehicle: ros2 launch cooptrack_ros vehicle.launch.py namespace:=vehicle roadside:=rsu."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction

from cooptrack_ros import launch_parts as parts


def start(context: LaunchContext) -> list:
    """Profile and node."""
    instances = parts.text(context, "instances")
    topics = [f"/{namespace}/{instances}" for namespace in parts.namespaces(context, "roadside")]
    parameters = {"mode": parts.mode_of(context), "instance_topics": topics or [""]}
    return [
        *parts.security(context),
        *parts.dds_profile(context, 1),
        parts.agent_node(context, "vehicle_node", parameters),
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments and what follows from them."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="vehicle", description="name of the vehicle"),
            DeclareLaunchArgument(
                "roadside", default_value="rsu", description="roadside units to listen to, separated by commas, or none"
            ),
            DeclareLaunchArgument("instances", default_value="instances", description="topic of a unit's instances"),
            *parts.agent_arguments(),
            parts.mode_argument(),
            parts.profile_argument("network"),
            OpaqueFunction(function=start),
        ]
    )
