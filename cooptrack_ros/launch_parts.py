"""What the launch files share: arguments, the nodes of an agent, the DDS profile."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument, LogInfo, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from cooptrack_core.config import (
    DEFAULT_DETECTOR,
    DETECTORS,
    DEVICES,
    ENGINES,
    LEARNED_MODES,
    MODES,
    NETWORK_FAMILIES,
    NETWORK_VARIANTS,
    SHIPPED_WEIGHTS,
    default_mode,
)
from cooptrack_core.cooperation.impairment_file import read_impairment
from cooptrack_core.types import CooptrackError

FLAG = ("true", "false")
EVERYBODY = "all"
IMPAIRED = "instances_impaired"  # topic of a roadside unit's messages behind impairment_node
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
SEGMENT_BYTES = 32 * 1024 * 1024  # shared memory of one process, as in config/fastdds_*.xml
NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


def share(*parts: str) -> str:
    """Path of a file that this package has installed."""
    return str(Path(get_package_share_directory("cooptrack_ros"), *parts))


def agent_arguments(use_sim_time: str = "false") -> list[DeclareLaunchArgument]:
    """Arguments that every agent takes."""
    return [
        DeclareLaunchArgument(
            "params_file", default_value="", description="YAML file with parameters that go before those in config/"
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value=use_sim_time,
            choices=[*(("auto",) if use_sim_time == "auto" else ()), *FLAG],
            description="take time from /clock" + ("; auto: if a bag is played" if use_sim_time == "auto" else ""),
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=FLAG,
            description="configure and activate the nodes at start-up; false: leave it to a lifecycle manager",
        ),
        DeclareLaunchArgument(
            "detector",
            default_value=DEFAULT_DETECTOR,
            choices=DETECTORS,
            description="what the instances come from: network (camera images) or simulated (detections_in)",
        ),
        DeclareLaunchArgument(
            "preset",
            default_value="",
            choices=["", *NETWORK_FAMILIES, *NETWORK_VARIANTS],
            description="detector network: family of networks; empty: as the parameter files say (tiny)",
        ),
        DeclareLaunchArgument(
            "weights",
            default_value="",
            description="detector network: safetensors file, name of shipped weights, or untrained (random numbers); "
            f"empty: as the parameter files say ({SHIPPED_WEIGHTS})",
        ),
        DeclareLaunchArgument(
            "device",
            default_value="",
            choices=["", *DEVICES],
            description="detector network: where it runs; empty: as the parameter files say (auto)",
        ),
        DeclareLaunchArgument(
            "engine",
            default_value="",
            choices=["", *ENGINES],
            description="detector network: how it computes; empty: as the parameter files say (torch)",
        ),
        DeclareLaunchArgument(
            "security",
            default_value="false",
            choices=FLAG,
            description="SROS2: only nodes with keys from the keystore take part (docs/security.md)",
        ),
        DeclareLaunchArgument("keystore", default_value="", description="security: folder made by `ros2 security`"),
        DeclareLaunchArgument("log_level", default_value="info", choices=LOG_LEVELS, description="what is logged"),
        DeclareLaunchArgument(
            "use_respawn",
            default_value="false",
            choices=FLAG,
            description="start a node again, 1 s after it has died",
        ),
    ]


def mode_argument() -> DeclareLaunchArgument:
    """Argument that every vehicle takes."""
    return DeclareLaunchArgument(
        "mode",
        default_value="",
        choices=["", *MODES],
        description="cooperation: ego (what other agents send is not used), late (their objects are fused), learned or "
        "distance (detector network only: their features are fused, paired by the network or by distance); empty: "
        "learned with detector network, else late",
    )


def mode_of(context: LaunchContext) -> str:
    """The cooperation asked for. Raises RuntimeError in one line for one that the detector cannot serve."""
    detector = text(context, "detector")
    mode = text(context, "mode") or default_mode(detector)
    if mode in LEARNED_MODES and detector != "network":
        raise RuntimeError(f"mode:={mode}: needs features; give detector:=network too, or mode:=late")
    return mode


def security(context: LaunchContext) -> list[SetEnvironmentVariable]:
    """The environment of a secured graph, if that is asked for. RuntimeError in one line without a keystore."""
    if not flag(context, "security"):
        return []
    given = text(context, "keystore")
    make = "make one with `ros2 security create_keystore` (docs/security.md)"
    if not given:
        raise RuntimeError(f"security:=true: no keystore; give keystore:=FOLDER, {make}")
    if not Path(given, "enclaves").is_dir():
        raise RuntimeError(f"keystore:={given}: no such keystore (it has no folder enclaves); {make}")
    values = {"ENABLE": "true", "STRATEGY": "Enforce", "KEYSTORE": str(Path(given).resolve())}
    return [SetEnvironmentVariable(f"ROS_SECURITY_{name}", value) for name, value in values.items()]


def enclave(context: LaunchContext, namespace: str, executable: str) -> list[str]:
    """Arguments that give a node its own keys: enclave /<namespace>/<node>. RuntimeError where there are none."""
    if not flag(context, "security"):
        return []
    path = f"/{namespace.strip('/')}/{executable}".replace("//", "/")
    keystore = text(context, "keystore")
    if not Path(keystore, "enclaves", path[1:]).is_dir():
        make = f"`ros2 security create_enclave {keystore} {path}`, then its permissions (docs/security.md)"
        raise RuntimeError(f"keystore:={keystore}: no keys for {path}; make them with {make}")
    return ["--enclave", path]


def profile_argument(default: str) -> DeclareLaunchArgument:
    """Argument for the DDS profile."""
    return DeclareLaunchArgument(
        "dds_profile",
        default_value=default,
        choices=["local", "network", "none"],
        description="Fast DDS profile: local (this machine only), network (several machines), none (its defaults); "
        "a profile set in the environment stays",
    )


def text(context: LaunchContext, name: str) -> str:
    """Value of an argument."""
    return LaunchConfiguration(name).perform(context)


def flag(context: LaunchContext, name: str) -> bool:
    """Value of an argument that is true or false."""
    return text(context, name) == "true"


def number(context: LaunchContext, name: str) -> float:
    """Value of an argument that is a number."""
    try:
        return float(text(context, name))
    except ValueError:
        raise RuntimeError(f"{name}:={text(context, name)}: not a number") from None


def namespaces(context: LaunchContext, name: str) -> list[str]:
    """Value of an argument that lists namespaces, separated by commas; `none` is none (an empty value is no value)."""
    given = text(context, name)
    found = [part.strip().strip("/") for part in ("" if given == "none" else given).split(",") if part.strip()]
    for namespace in found:
        if not NAMESPACE.fullmatch(namespace):
            raise RuntimeError(f"{name}:={text(context, name)}: {namespace!r} is not a namespace")
    if len(set(found)) != len(found):
        raise RuntimeError(f"{name}:={text(context, name)}: a namespace is given twice")
    return found


def check_params_file(path: str) -> None:
    """Raises RuntimeError in one line for a file that is missing or no parameter file; an empty one is fine."""
    try:
        content = yaml.safe_load(Path(path).read_bytes())
    except FileNotFoundError:
        raise RuntimeError(f"params_file:={path}: no such file") from None
    except OSError as error:
        raise RuntimeError(f"params_file:={path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RuntimeError(f"params_file:={path}: is not YAML ({' '.join(str(error).split())})") from None
    expected = "<node name>: ros__parameters: <name>: <value>, as in config/"
    if content is not None and not isinstance(content, dict):
        raise RuntimeError(f"params_file:={path}: has no parameters; give {expected}")
    for name, entry in (content or {}).items():
        if not isinstance(entry, dict):
            raise RuntimeError(f"params_file:={path}: {name}: has no parameters; give {expected}")


def node(
    context: LaunchContext, executable: str, parameters: Mapping[str, Any], namespace: str = "/", **process: Any
) -> Node:
    """A node named like its executable, with its file in config/, the user's file and `parameters`, the last first."""
    files = [share("config", f"{executable}.yaml")]
    user_file = text(context, "params_file")
    if user_file:
        check_params_file(user_file)
        files.append(user_file)
    return Node(
        package="cooptrack_ros",
        executable=executable,
        name=executable,
        namespace=namespace,
        parameters=[*files, dict(parameters)],
        arguments=["--ros-args", "--log-level", text(context, "log_level"), *enclave(context, namespace, executable)],
        output="screen",
        **process,
    )


def impairment(context: LaunchContext, senders: list[str], simulated: bool) -> list[Node]:
    """The node that impairs what these agents send, if that is asked for. RuntimeError in one line for a bad file."""
    file = text(context, "impair")
    if not file or not senders:
        return []
    try:
        read_impairment(Path(file))
    except CooptrackError as error:
        raise RuntimeError(f"impair:={error}") from None
    topics = [f"/{name}/instances" for name in senders]
    parameters = {"impairment": str(Path(file).resolve()), "instance_topics": topics, "use_sim_time": simulated}
    return [
        node(
            context, "impairment_node", {**parameters, "suffix": IMPAIRED.removeprefix("instances")}, **respawn(context)
        )
    ]


def agent_node(context: LaunchContext, executable: str, parameters: Mapping[str, Any]) -> Node:
    """The node of the agent in the namespace given by the argument `namespace`."""
    found = namespaces(context, "namespace")
    if len(found) != 1:
        raise RuntimeError(f"namespace:={text(context, 'namespace')}: give exactly one")
    common = {
        "use_sim_time": flag(context, "use_sim_time"),
        "autostart": flag(context, "autostart"),
        "detector": text(context, "detector"),
    }
    network = {f"network.{name}": text(context, name) for name in ("preset", "weights", "device", "engine")}
    common |= {name: value for name, value in network.items() if value}
    return node(
        context,
        executable,
        {**common, **parameters},
        found[0],
        **respawn(context),
    )


def respawn(context: LaunchContext) -> dict[str, Any]:
    """Whether a node is started again after it has died, for `node`."""
    return {"respawn": flag(context, "use_respawn"), "respawn_delay": 1.0}


def dds_profile(context: LaunchContext, participants: int) -> list[SetEnvironmentVariable | LogInfo]:
    """Sets the profile that was asked for, unless the user has one or shared memory is too small for it."""
    profile = text(context, "dds_profile")
    if profile == "none" or any(os.environ.get(variable) for variable in PROFILE_VARIABLES):
        return []
    memory = os.statvfs("/dev/shm")
    free_bytes = memory.f_bavail * memory.f_frsize
    if free_bytes < participants * SEGMENT_BYTES:
        return [
            LogInfo(
                msg=f"/dev/shm has {free_bytes // 2**20} MB free, the DDS profile needs "
                f"{participants * SEGMENT_BYTES // 2**20}: going on without it, large images may get lost "
                "(containers: --shm-size 512m)"
            )
        ]
    return [SetEnvironmentVariable(PROFILE_VARIABLES[0], share("config", f"fastdds_{profile}.xml"))]
