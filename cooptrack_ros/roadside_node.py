"""roadside_node: images or detections of a roadside unit in, instances on the air out."""

from __future__ import annotations

import secrets
import sys
from typing import Any

from cooptrack_core.config import RoadsideConfig
from cooptrack_core.perception import Network
from cooptrack_core.pipeline import RoadsideAgent
from cooptrack_core.types import Frame
from cooptrack_msgs.msg import InstanceFeatures
from cooptrack_ros.agent_node import AgentNode
from cooptrack_ros.conversions import features_message
from cooptrack_ros.lifecycle import run_node
from cooptrack_ros.parameters import RoadsideParameters
from cooptrack_ros.poses import PoseResult
from cooptrack_ros.qos import best_effort


class RoadsideNode(AgentNode):
    """Runs a RoadsideAgent."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("roadside_node", RoadsideParameters, RoadsideConfig, **arguments)

    def make_agent(self, network: Network | None) -> RoadsideAgent:
        self._frame_index = 0
        session_id = self.settings.session_id or secrets.randbits(63) | 1
        map_frame = self.settings.map_frame
        return RoadsideAgent(self.agent_id, self.config, session_id, self.sensor_frame, map_frame, network)

    def make_publishers(self) -> None:
        # No lifespan: it would drop late messages uncounted; the receiver decides and counts.
        self._instances_publisher = self.publisher(InstanceFeatures, "instances", best_effort(2))

    def step(self, frame: Frame, pose: PoseResult) -> dict[str, float]:
        output = self.agent.step(frame)
        self._frame_index += 1
        if output.message is not None:
            self._instances_publisher.publish(features_message(output.message))
        known = pose.T_map_from_sensor is not None
        unusable = bool(output.problem) or (frame.detections is None and frame.camera is None)
        self.publish_tracks(output.tracks, self._frame_index, unusable, known, pose.T_map_from_sensor)
        self.note_problem(frame.stamp_ns, output.problem)
        return output.timings_ms


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    return run_node(RoadsideNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
