"""The whole system on one machine, live or from a bag.

ros2 launch cooptrack_ros cooperative.launch.py bag:=<rosbag2 directory> rviz:=true
A second vehicle or roadside unit is another namespace: roadside:=rsu,rsu_2. With share:=true vehicles hear one another.
"""

import signal
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from cooptrack_ros import launch_parts as parts

NOT_STARTED, BAD_INPUT = 1, 2  # exit codes of our nodes
AGENTS = ("roadside_node", "vehicle_node")
# Loading a network takes a while, and who waits for each frame wants each.
PATIENCE = {"lockstep_timeout_ms": 60000.0, "wait_for_subscribers_ms": 120000.0}
SETTLE_S = 1.0  # between the end of the bag and the end of the nodes, for what is still under way


def agent(context: LaunchContext, file: str, use_sim_time: str, **arguments: str) -> IncludeLaunchDescription:
    """The launch file of an agent with the arguments of this one."""
    passed_on = (
        "params_file", "autostart", "detector", "preset", "weights", "device", "engine", "log_level", "use_respawn",
        "security", "keystore",
    )  # fmt: skip
    own = {name: parts.text(context, name) for name in passed_on}
    every = {**own, "use_sim_time": use_sim_time, "dds_profile": "none", **arguments}
    source = PythonLaunchDescriptionSource(parts.share("launch", file))
    return IncludeLaunchDescription(source, launch_arguments=list(every.items()))


def replay(context: LaunchContext, roadside: list[str], vehicles: list[str]) -> list:
    """The bag, and the end of everything after it if that is wanted."""
    outputs = [f"/{name}/instances" for name in roadside] + [f"/{name}/tracks" for name in vehicles]
    network = parts.text(context, "detector") == "network"
    frame_topic = "camera_info" if network else "detections_in"
    player = parts.node(
        context,
        "replay_node",
        {
            "bag": parts.text(context, "bag"),
            "rate": parts.number(context, "rate"),
            "loop": parts.flag(context, "loop"),
            "start_offset": parts.number(context, "start_offset"),
            "lockstep": parts.flag(context, "lockstep"),
            "lockstep_outputs": outputs,
            "lockstep_frames": "images" if network else "detections",
            "wait_for_subscribers": [f"/{name}/{frame_topic}" for name in roadside + vehicles],
            **(PATIENCE if network or parts.flag(context, "lockstep") else {}),
            "recorder": "/recorder_node" if parts.text(context, "record") else "",
        },
        **(parts.respawn(context) if parts.flag(context, "loop") else {}),
    )
    if not parts.flag(context, "exit_when_done"):
        return [player]
    return [RegisterEventHandler(OnProcessExit(target_action=player, on_exit=end)), player]


def end(event: ProcessExited, context: LaunchContext) -> TimerAction:
    """The end of everything after the end of the bag; the launch fails if playing failed."""
    if event.returncode not in (0, -signal.SIGINT):  # interrupted before it could handle that: no failure
        raise RuntimeError(f"replay_node has failed with exit code {event.returncode}")
    return TimerAction(period=SETTLE_S, actions=[Shutdown(reason="the bag has been played")])


def recorder_ended(event: ProcessExited, context: LaunchContext) -> None:
    """Fails the launch if the recorder could not begin; one that is killed later must not stop the agents."""
    if event.returncode == BAD_INPUT:
        raise RuntimeError(f"recorder_node has failed with exit code {event.returncode}")


def agent_ended(event: ProcessExited, context: LaunchContext) -> None:
    """Fails a launch that ends with its bag if an agent could not come up: the bag would wait for it in vain."""
    if event.returncode in (NOT_STARTED, BAD_INPUT) and event.process_name.startswith(AGENTS):
        raise RuntimeError(f"{event.process_name} could not come up (exit code {event.returncode}); it says why above")


def rviz(use_sim_time: bool) -> Node:
    """RViz with every display of the suite."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        raise RuntimeError(
            "rviz:=true: package rviz2 is not installed; install it (apt install ros-$ROS_DISTRO-rviz2), "
            "or record and look at the HTML player of `cooptrack report`"
        ) from None
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        arguments=["-d", parts.share("rviz", "cooperative.rviz")],
        parameters=[{"use_sim_time": use_sim_time}],
        output="screen",
    )


def start(context: LaunchContext) -> list:
    """Everything that was asked for: the recorder first and the bag last."""
    mode = parts.mode_of(context)
    roadside, vehicles = parts.namespaces(context, "roadside"), parts.namespaces(context, "vehicle")
    share = parts.flag(context, "share")
    if set(roadside) & set(vehicles) or not vehicles:
        raise RuntimeError("vehicle and roadside need namespaces of their own, and at least one vehicle")
    bag, record = parts.text(context, "bag"), parts.text(context, "record")
    if bag and not Path(bag).is_dir():
        raise RuntimeError(f"bag:={bag}: no such directory; make one with `cooptrack to-bag`")
    if record and Path(record).exists():
        raise RuntimeError(f"record:={record}: exists already; give another directory or remove it")
    use_sim_time = parts.text(context, "use_sim_time")
    if use_sim_time == "auto":
        use_sim_time = "true" if bag else "false"
    simulated = use_sim_time == "true"

    actions = parts.security(context) + parts.dds_profile(context, len(roadside) + 2 * len(vehicles) + 3)
    if parts.flag(context, "rviz"):
        actions.append(rviz(simulated))
    if record:
        parameters = {"output": record, "use_sim_time": simulated}
        recorder = parts.node(context, "recorder_node", parameters, sigterm_timeout="20")
        actions += [RegisterEventHandler(OnProcessExit(target_action=recorder, on_exit=recorder_ended)), recorder]
    if bag and parts.flag(context, "exit_when_done") and not parts.flag(context, "use_respawn"):
        actions.append(RegisterEventHandler(OnProcessExit(on_exit=agent_ended)))
    impairment = parts.impairment(context, roadside + vehicles if share else roadside, simulated)
    actions += impairment
    roadside_weights = parts.text(context, "roadside_weights") or parts.text(context, "weights")
    for name in roadside:
        own = {"namespace": name, "weights": roadside_weights}
        actions.append(agent(context, "roadside.launch.py", use_sim_time, **own))
    for name in vehicles:
        heard = parts.EVERYBODY if share else ",".join(roadside) or "none"
        own = {"namespace": name, "roadside": heard, "mode": mode, "publish_instances": str(share).lower()}
        if impairment:
            own["instances"] = parts.IMPAIRED
        actions.append(agent(context, "vehicle.launch.py", use_sim_time, **own))
        if parts.flag(context, "markers"):
            actions.append(
                parts.node(context, "marker_node", {"use_sim_time": simulated}, name, **parts.respawn(context))
            )
    if bag:
        actions += replay(context, roadside, vehicles)
    return actions


def generate_launch_description() -> LaunchDescription:
    """Arguments and what follows from them."""

    def argument(name: str, default: str, description: str) -> DeclareLaunchArgument:
        return DeclareLaunchArgument(name, default_value=default, description=description)

    def switch(name: str, default: str, description: str) -> DeclareLaunchArgument:
        return DeclareLaunchArgument(name, default_value=default, choices=parts.FLAG, description=description)

    return LaunchDescription(
        [
            argument("vehicle", "vehicle", "namespaces of the vehicles, separated by commas"),
            argument("roadside", "rsu", "namespaces of the roadside units, separated by commas, or none"),
            switch(
                "share", "false", "vehicles tell what they see themselves, and listen to all agents that come and go"
            ),
            *parts.agent_arguments(use_sim_time="auto"),
            argument("roadside_weights", "", "detector network: weights of the roadside units; empty: as weights"),
            parts.mode_argument(),
            argument("bag", "", "rosbag2 directory to play; empty: live"),
            argument("rate", "1.0", "speed of the bag; 2.0 is twice as fast"),
            switch("loop", "false", "play the bag again and again"),
            argument("start_offset", "0.0", "where in the bag to begin, s"),
            switch("lockstep", "false", "play a frame when the output of the last one is there, however long it takes"),
            argument("impair", "", "YAML file of impairments between roadside and vehicles, as config/impairment.yaml"),
            switch("exit_when_done", "false", "end everything when the bag has been played"),
            argument("record", "", "rosbag2 directory to record the outputs into; must not exist; empty: none"),
            switch("markers", "true", "publish markers for RViz"),
            switch("rviz", "false", "open RViz"),
            parts.profile_argument("local"),
            OpaqueFunction(function=start),
        ]
    )
