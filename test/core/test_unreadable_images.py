"""Network runs over images that cannot be read: counted by side, their frames lost; what mode ego does not need."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from fake_networks import fake_networks
from simulated import LATE, simulated_run
from tiny_spd import TinySpd

from cooptrack_core.config import DETECTORS, RoadsideConfig, VehicleConfig
from cooptrack_core.evaluation.run import SequenceRunner
from cooptrack_core.types import CooptrackError

FRAMES = 3


@pytest.fixture
def spd(tmp_path: Path) -> Path:
    return TinySpd(tmp_path / "spd", sequences=("0003",), frames=FRAMES).write()


def break_image(root: Path, side: str, frame: str, content: bytes | None = None) -> Path:
    """Cuts the end of an image off, or replaces all of it."""
    path = root / f"{side}-side" / "image" / f"{frame}.jpg"
    path.write_bytes(path.read_bytes()[:-10] if content is None else content)
    return path


def runner_of(root: Path, mode: str, detector: str) -> SequenceRunner:
    vehicle, roadside = VehicleConfig(mode=mode, detector=detector), RoadsideConfig(detector=detector)
    return SequenceRunner(simulated_run(root, sequences=("0003",), vehicle=vehicle, roadside=roadside), fake_networks)


def test_unreadable_images_are_counted_by_side_and_their_frames_are_lost(spd: Path) -> None:
    first = break_image(spd, "vehicle", "000001", b"rubbish")
    break_image(spd, "vehicle", "000002", b"")
    unit = break_image(spd, "infrastructure", "000500", b"no image")
    runner = runner_of(spd, "late", "network")
    lost = [
        frame["predicted_only"] for frame in runner.run("0003", VehicleConfig(mode="ego", detector="network"))["frames"]
    ]
    assert lost == [False, True, True]
    runner.run("0003")
    assert runner.warnings == [
        f"sequence 0003: 2 vehicle images are unreadable, frames lost (first: {first} is not a JPEG file (no SOI "
        "marker))",
        f"sequence 0003: 1 infrastructure image is unreadable, frames lost (first: {unit} is not a JPEG file (no SOI "
        "marker))",
    ]


@pytest.mark.parametrize("mode", ["late", "ego"])
def test_a_sequence_without_a_readable_image_of_the_vehicle_is_one_line(spd: Path, mode: str) -> None:
    paths = [break_image(spd, "vehicle", f"{n:06d}") for n in range(FRAMES)]
    with pytest.raises(CooptrackError) as error:
        runner_of(spd, mode, "network").run("0003")
    what = "is a truncated JPEG (no EOI marker), and none of the vehicle's 3 images of sequence 0003 is readable"
    assert str(error.value).startswith(f"{paths[0]}: image: {what}; ")


@pytest.mark.parametrize("detector", DETECTORS)
def test_mode_ego_needs_neither_labels_nor_images_of_the_roadside(spd: Path, detector: str) -> None:
    def ego() -> list[dict[str, Any]]:
        frames = runner_of(spd, "ego", detector).run("0003")["frames"]
        return [{name: value for name, value in frame.items() if name != "timings_ms"} for frame in frames]

    complete = ego()
    shutil.rmtree(spd / "infrastructure-side" / "label")
    shutil.rmtree(spd / "infrastructure-side" / "image")
    assert ego() == complete
    with pytest.raises(CooptrackError):
        runner_of(spd, "late", detector).run("0003")


def test_what_the_vehicle_does_alone_does_not_depend_on_earlier_runs(spd: Path) -> None:
    first, later = runner_of(spd, "ego", "simulated"), runner_of(spd, "ego", "simulated")
    later.run("0003", LATE)
    frames = [runner.run("0003")["frames"] for runner in (first, later)]
    assert [f["tracks"] for f in frames[0]] == [f["tracks"] for f in frames[1]]
