"""One vehicle: ros2 launch cooptrack_ros vehicle.launch.py namespace:=vehicle roadside:=rsu."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction

from cooptrack_ros import launch_parts as parts


def start(context: LaunchContext) -> list:
    """Profile and node."""
    everybody, instances = parts.text(context, "roadside") == parts.EVERYBODY, parts.text(context, "instances")
    topics = [] if everybody else [f"/{name}/{instances}" for name in parts.namespaces(context, "roadside")]
    parameters = {
        "mode": parts.mode_of(context),
        "instance_topics": [f"/**/{instances}"] if everybody else topics or [""],
        "publish_instances": parts.flag(context, "publish_instances"),
    }
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
                "roadside",
                default_value="rsu",
                description="agents to listen to, separated by commas, or none; all: every agent that comes and goes",
            ),
            DeclareLaunchArgument(
                "publish_instances",
                default_value="false",
                choices=parts.FLAG,
                description="tell other vehicles what this one measures itself",
            ),
            DeclareLaunchArgument("instances", default_value="instances", description="topic of a unit's instances"),
            *parts.agent_arguments(),
            parts.mode_argument(),
            parts.profile_argument("network"),
            OpaqueFunction(function=start),
        ]
    )
