"""A roadside network that is run once per frame: what it says does not depend on what is sent of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.config import RoadsideConfig, VehicleConfig
from cooptrack_core.cooperation.codebook import Codebook
from cooptrack_core.networks import network_of
from cooptrack_core.offline import NetworkMaker
from cooptrack_core.perception import Network, NetworkOutput
from cooptrack_core.types import Frame, Message, TrackedObjects


class RememberedNetwork:
    """Says to the same frames, in the same order since the last reset, what it has said before."""

    def __init__(self, network: Network, known: dict[bytes, NetworkOutput]) -> None:
        """known: what it has said, by a digest of all frames up to that one; shared by several of these."""
        self._network, self._known = network, known
        self._so_far = b""
        self._behind: list[tuple[Frame, NDArray[np.float64]]] = []  # frames that the network itself has not seen

    @property
    def preset(self) -> str:
        """As the network."""
        return self._network.preset

    @property
    def fingerprint(self) -> bytes:
        """As the network."""
        return self._network.fingerprint

    @property
    def trained(self) -> bool:
        """As the network."""
        return self._network.trained

    @property
    def codebook(self) -> Codebook | None:
        """As the network."""
        return self._network.codebook

    @property
    def needed_streams(self) -> tuple[str, ...]:
        """As the network."""
        return self._network.needed_streams

    @property
    def about(self) -> Mapping[str, str]:
        """As the network."""
        return self._network.about

    def understands(self, message: Message) -> bool:
        """As the network."""
        return self._network.understands(message)

    def step(self, frame: Frame, T_map_from_sensor: NDArray[np.float64], messages: Sequence[Message]) -> NetworkOutput:
        """Of memory, or by the network, which first sees what it has missed."""
        self._so_far = _digest(self._so_far, frame, T_map_from_sensor)
        found = self._known.get(self._so_far)
        if found is not None:
            self._behind.append((frame, T_map_from_sensor))
            return found
        self._catch_up()
        made = self._network.step(frame, T_map_from_sensor, messages)
        self._known[self._so_far] = made
        return made

    def predict(self, stamp_ns: int, T_map_from_sensor: NDArray[np.float64]) -> TrackedObjects:
        """By the network, once it has seen everything."""
        self._catch_up()
        return self._network.predict(stamp_ns, T_map_from_sensor)

    def reset(self) -> None:
        """Track ids go on, so what comes after a reset is another drive."""
        self._catch_up()
        self._network.reset()
        self._so_far = hashlib.sha256(self._so_far + b"reset").digest()

    def _catch_up(self) -> None:
        for frame, T_map_from_sensor in self._behind:
            self._network.step(frame, T_map_from_sensor, ())
        self._behind.clear()


class RememberedRoadside:
    """Makes networks as `make` does, those of roadside units remembered from run to run."""

    def __init__(self, make: NetworkMaker = network_of) -> None:
        self._make = make
        self._known: dict[bytes, NetworkOutput] = {}

    def __call__(self, config: RoadsideConfig | VehicleConfig) -> Network | None:
        """The network that an agent of a configuration needs."""
        made = self._make(config)
        return made if made is None or isinstance(config, VehicleConfig) else RememberedNetwork(made, self._known)


def _digest(before: bytes, frame: Frame, T_map_from_sensor: NDArray[np.float64]) -> bytes:
    digest = hashlib.sha256(before + frame.stamp_ns.to_bytes(8, "little"))
    digest.update(np.ascontiguousarray(T_map_from_sensor, np.float64).tobytes())
    image = frame.image
    digest.update(image if isinstance(image, bytes) else np.ascontiguousarray(image).tobytes())
    return digest.digest()


__all__ = ["RememberedNetwork", "RememberedRoadside"]
