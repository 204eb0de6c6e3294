"""A dataset sequence that is read as if it were a bag: the same messages at the same log times, never written."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Any

from cooptrack_core.data.bag import BagMessage
from cooptrack_core.data.files import problem
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.data.sequence_messages import SequenceMessages

_IMAGES = ("/image/compressed", "/image")


class SequenceSource:
    """Context manager with what `Bag` offers to readers of frames."""

    def __init__(self, sequence: SequenceMessages) -> None:
        self.path, self.sequence = sequence.dataset.root, sequence

    def __enter__(self) -> SequenceSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def topics(self) -> dict[str, str]:
        """Type of each topic that every sequence has."""
        return self.sequence.declared()

    @property
    def duration_ns(self) -> int:
        """Between the first and the last pose."""
        return self.sequence.duration_ns

    def count(self, topic: str) -> int:
        """Messages of a topic below an agent's namespace; 0 for a topic that a sequence does not have."""
        agent, _, name = topic.removeprefix("/").partition("/")
        rows = [frame.row for frame in self.sequence.frames if frame.agent == agent]
        if name in ("frame_info", "camera_info", "detections_in"):
            return len(rows)
        own_images = "image" if self.sequence.options.raw else "image/compressed"
        return sum(row.image_path.exists() for row in rows) if name == own_images else 0

    def require(self, topic: str, remedy: str) -> None:
        """Raises CooptrackError where the dataset has nothing for this topic."""
        if topic in ("/tf", "/tf_static") or self.count(topic):
            return
        rows = [frame.row for frame in self.sequence.frames if topic.startswith(f"/{frame.agent}/")]
        if topic.endswith(_IMAGES) and rows:
            what = f"is missing, as is every other image of sequence {self.sequence.sequence_id} on this side"
            raise problem(rows[0].image_path, "image", what, remedy)
        raise problem(self.path, topic, f"sequence {self.sequence.sequence_id} has no such messages", remedy)

    def messages(
        self,
        topics: Collection[str] | None = None,
        *,
        types: Collection[str] | None = None,
        open_topics: Collection[str] = (),
    ) -> Iterator[BagMessage]:
        """Messages in log order. They have been through serialisation, so that their numbers are those of a bag."""
        store = typestore()
        for item in self.sequence(topics):
            msgtype = item.message.__msgtype__
            if types is not None and msgtype not in types:
                continue
            data = store.serialize_cdr(item.message, msgtype)
            message: Any = store.deserialize_cdr(data, msgtype)
            yield BagMessage(item.topic, item.log_time_ns, message, len(data))


__all__ = ["SequenceSource"]
