"""One sequence of a dataset as a rosbag2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from cooptrack_core.data.bag_writer import LATCHED_QOS, SENSOR_QOS, TF_QOS, BagWriter
from cooptrack_core.data.frame_messages import SequenceOptions
from cooptrack_core.data.joined_sequences import JoinedSequences
from cooptrack_core.data.sequence_messages import TF_RATE_HZ, SequenceMessages
from cooptrack_core.data.v2x_seq import Dataset

_QOS = {"/tf_static": LATCHED_QOS, "/tf": TF_QOS}


@dataclass(frozen=True)
class BagOptions(SequenceOptions):
    """How to write a bag."""

    overwrite: bool = False


@dataclass
class BagSummary:
    """What went into a bag."""

    path: Path
    sequence_id: str
    vehicle_frames: int = 0
    roadside_frames: int = 0
    images: int = 0
    warnings: list[str] = field(default_factory=list)


def sequence_to_bag(
    dataset: Dataset, sequence_id: str, path: Path, options: BagOptions | None = None, others: Sequence[Dataset] = ()
) -> BagSummary:
    """Writes one sequence; raises CooptrackError for an unknown sequence or unreadable metadata.

    others: datasets whose sequence of the same id is of the same traffic; their agents come into the bag, too.
    """
    options = options or BagOptions()
    sequence = _messages([dataset, *others], sequence_id, options)
    counts: Counter[str] = Counter()
    with (
        BagWriter(path, overwrite=options.overwrite) as bag,
        tqdm(total=len(sequence.frames), unit="frame", desc=f"sequence {sequence_id}", disable=None) as bar,
    ):
        for topic, msgtype in sequence.declared().items():
            bag.topic(topic, msgtype, _QOS.get(topic, SENSOR_QOS))
        for item in sequence():
            bag.write(item.topic, item.log_time_ns, item.message)
            counts[item.topic] += 1
            bar.update(item.topic.endswith("/frame_info"))
    return BagSummary(
        path,
        sequence_id,
        sum(count for topic, count in counts.items() if _is_frame_of(topic, options.vehicle)),
        sum(count for topic, count in counts.items() if _is_frame_of(topic, options.roadside)),
        sum(count for topic, count in counts.items() if topic.endswith(("/image", "/image/compressed"))),
        sequence.warnings,
    )


def _messages(datasets: Sequence[Dataset], sequence_id: str, options: BagOptions) -> SequenceMessages | JoinedSequences:
    if len(datasets) == 1:
        return SequenceMessages(datasets[0], sequence_id, options)
    return JoinedSequences(datasets, sequence_id, options)


def _is_frame_of(topic: str, agent: str) -> bool:
    """Whether it announces the frames of that agent, numbered or not."""
    namespace, _, name = topic.rpartition("/")
    return name == "frame_info" and namespace.rstrip("0123456789") == f"/{agent}".rstrip("0123456789")


__all__ = ["TF_RATE_HZ", "BagOptions", "BagSummary", "sequence_to_bag"]
