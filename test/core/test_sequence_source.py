"""A dataset sequence that is read like a bag: the same messages, without the bag."""

from __future__ import annotations

from pathlib import Path

import pytest
from bag_log import everything
from tiny_spd import TinySpd, dair_tree

from cooptrack_core.data.bag import Bag
from cooptrack_core.data.frame_messages import SequenceOptions
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.data.sequence_messages import SequenceMessages
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.types import CooptrackError


def source_of(root: Path, **options: object) -> SequenceSource:
    dataset = Dataset(root)
    return SequenceSource(SequenceMessages(dataset, dataset.sequences[0], SequenceOptions(**options)))  # type: ignore[arg-type]


def plain(log: list) -> list[tuple[str, int, bytes]]:
    store = typestore()
    return [(topic, at, bytes(store.serialize_cdr(m, m.__msgtype__))) for topic, at, m in log]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("tree", ["spd", "no_images", "vehicle_alone", "dair"])
def test_messages_and_log_times_are_those_of_the_bag(tmp_path: Path, tree: str, raw: bool) -> None:
    makers = {
        "spd": lambda: TinySpd(tmp_path / "spd").write(),
        "no_images": lambda: TinySpd(tmp_path / "spd", images=False).write(),
        "vehicle_alone": lambda: TinySpd(tmp_path / "spd", roadside=False).write(),
        "dair": lambda: dair_tree(tmp_path / "spd"),
    }
    root = makers[tree]()
    sequence_to_bag(Dataset(root), Dataset(root).sequences[0], tmp_path / "bag", BagOptions(seed=4, raw=raw))
    with source_of(root, seed=4, raw=raw) as source, Bag(tmp_path / "bag") as bag:
        read = [(item.topic, item.log_time_ns, item.message) for item in source.messages()]
        assert plain(read) == plain(everything(tmp_path / "bag"))
        assert source.duration_ns == max(t for topic, t, _ in read if topic == "/tf") - read[1][1]
        assert set(source.topics) <= set(bag.topics)
        for topic in bag.topics:
            if not topic.startswith("/tf") and not topic.endswith("ground_truth"):
                assert source.count(topic) == bag.count(topic), topic


def test_chosen_topics_keep_their_log_times(tmp_path: Path) -> None:
    source = source_of(TinySpd(tmp_path / "spd").write())
    wanted = ["/vehicle/detections_in", "/rsu/camera_info"]
    chosen = [(item.topic, item.log_time_ns) for item in source.messages(wanted)]
    everything_read = [(item.topic, item.log_time_ns) for item in source.messages()]
    assert chosen == [item for item in everything_read if item[0] in wanted]
    (kind,) = {m.message.__msgtype__ for m in source.messages(types=["cooptrack_msgs/msg/FrameInfo"])}
    assert kind == "cooptrack_msgs/msg/FrameInfo"


def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd").write()
    source = source_of(root)
    for path in root.glob("*/image/*.jpg"):
        path.unlink()
    assert len(list(source.messages(["/vehicle/detections_in"]))) == 4


def test_what_a_dataset_lacks_is_named(tmp_path: Path) -> None:
    source = source_of(TinySpd(tmp_path / "spd", images=False).write())
    source.require("/tf", "")
    with pytest.raises(CooptrackError, match=r"000000.jpg: image: is missing, as is every other .* 0010 .*; copy them"):
        source.require("/vehicle/image/compressed", "copy them")
    with pytest.raises(CooptrackError, match="/bus/frame_info: sequence 0010 has no such messages; choose"):
        source.require("/bus/frame_info", "choose")
