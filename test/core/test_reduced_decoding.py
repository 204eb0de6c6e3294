"""Large JPEGs are decoded smaller where a network needs less: nearly the same pixels, the same tracks."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scenarios import STEP_NS
from small_runtime import camera
from small_runtime import image as noise

from cooptrack_core.config import NetworkConfig
from cooptrack_core.data.synthetic import renderers
from cooptrack_core.data.synthetic.options import SceneOptions
from cooptrack_core.data.synthetic.scene import make_scene
from cooptrack_core.model.image_input import image_input, reduction_of
from cooptrack_core.model.loading import load_network
from cooptrack_core.model.presets import get_preset
from cooptrack_core.perception import FrameRejected
from cooptrack_core.types import CameraView, Frame

TINY = get_preset("tiny_inf")  # 320x192
FULL_HD, FRAMES, ENLARGED = (1920, 1080), 3, 3
JPEG = cv2.imencode(".jpg", noise(0, *FULL_HD))[1].tobytes()


@pytest.fixture(scope="module")
def drive() -> list[Frame]:
    """What the camera of a synthetic roadside unit sees: rendered at a third of 1920x1080, each pixel nine times."""
    third = [side // ENLARGED for side in FULL_HD]
    scene = make_scene(SceneOptions(seed=3, duration_s=1.0, renderer="none", width_px=third[0], height_px=third[1]), 0)
    renderer, rig, frames = renderers.create("rays", scene), scene.rig, []
    for index in range(FRAMES):
        time_s, view = scene.image_time_s("infrastructure", index), scene.view("infrastructure", index)
        seen = renderer.look(view, scene.placements(time_s, without_ego=False) + scene.fixtures(time_s), time_s).rgb
        assert seen is not None
        pixels = cv2.resize(seen[..., ::-1], FULL_HD, interpolation=cv2.INTER_NEAREST)
        K = np.diag([ENLARGED, ENLARGED, 1.0]) @ view.K
        K[:2, 2] += (ENLARGED - 1) / 2  # pixels have their centres at whole numbers
        mounted = CameraView(K, rig.T_camera_from_virtuallidar, *FULL_HD)
        jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        frames.append(Frame(index * STEP_NS, rig.T_scene_from_virtuallidar, image=jpeg, camera=mounted))
    return frames


def test_pixels_differ_by_a_fraction_of_a_grey_level_and_the_projection_not_at_all(drive: list[Frame]) -> None:
    whole, part = (image_input(drive[0], TINY, reduced=reduced) for reduced in (False, True))
    levels = np.abs(whole.image - part.image) * np.asarray(TINY.image_std, np.float32)[:, None, None]
    print(f"grey levels: mean {levels.mean():.3f}, largest {levels.max():.0f}")
    assert 0.0 < levels.mean() < 0.3 and levels.max() < 25.0
    np.testing.assert_array_equal(whole.lidar2img, part.lidar2img)


def test_nothing_moves_in_the_image(drive: list[Frame]) -> None:
    """Of a shift of both images against each other, by least squares, less than a hundredth of a pixel is found."""
    whole, part = (image_input(drive[0], TINY, reduced=reduced).image[:, :180].mean(0) for reduced in (False, True))
    down, right = np.gradient(whole)
    slopes = np.stack([right.ravel(), down.ravel()], axis=1)
    shift_px = np.linalg.lstsq(slopes, (part - whole).ravel(), rcond=None)[0]
    assert np.abs(shift_px).max() < 0.01


def test_tracks_of_the_shipped_network_are_the_same(drive: list[Frame], one_thread: None) -> None:
    """Each has one partner of its class, the same in all frames; objects born together may get ids in another order."""
    runs, partners = [], {}
    for engine in ("eager", "torch"):
        network = load_network(NetworkConfig(device="cpu", engine=engine), "inf")
        runs.append([network.step(frame, frame.T_map_from_sensor, ()).tracks for frame in drive])
    for whole, part in zip(*runs, strict=True):
        assert len(whole) == len(part) > 5
        apart_m = np.linalg.norm(whole.center_m[:, None] - part.center_m, axis=2)
        nearest = apart_m.argmin(axis=1)
        print(f"{len(whole)} tracks, centres at most {apart_m.min(axis=1).max():.3f} m apart")
        assert sorted(nearest) == list(range(len(whole))) and apart_m.min(axis=1).max() < 0.3
        np.testing.assert_array_equal(whole.class_id, part.class_id[nearest])
        for track_id, partner in zip(whole.track_id.tolist(), part.track_id[nearest].tolist(), strict=True):
            assert partners.setdefault(track_id, partner) == partner
    assert len(set(partners.values())) == len(partners)


SIZES = {  # width, height, columns of the network: parts
    "full HD for tiny": (1920, 1080, 320, 2), "4K for tiny": (3840, 2160, 320, 4), "8K for tiny": (7680, 4320, 320, 8),
    "HD for tiny": (1280, 720, 320, 2), "just enough": (320, 180, 320, 1),
    "twice the columns": (640, 360, 320, 1), "full HD for a published network": (1920, 1080, 960, 1),
    "4K for a published network": (3840, 2160, 960, 2), "an odd height": (1920, 1081, 320, 1),
    "no whole blocks of four": (3844, 2162, 320, 2),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(SIZES))
def test_at_least_twice_the_columns_and_whole_blocks_are_left(case: str) -> None:
    width, height, columns, expected = SIZES[case]
    header = b"\xff\xd8\xff\xc0\0\x11\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\3"
    network = replace(TINY, image_size=(32, columns))
    assert reduction_of(header, camera(width, height), network) == expected


def test_what_is_no_large_jpeg_is_the_same_bit_by_bit() -> None:
    small, large = noise(1, 320, 180), noise(1, *FULL_HD)
    for image in (cv2.imencode(".jpg", small)[1].tobytes(), cv2.imencode(".png", large)[1].tobytes(), large):
        width, height = (320, 180) if isinstance(image, bytes) and image[:2] == b"\xff\xd8" else FULL_HD
        frame = Frame(0, np.eye(4), image=image, camera=camera(width, height))
        whole, part = (image_input(frame, TINY, reduced=reduced).image for reduced in (False, True))
        np.testing.assert_array_equal(whole, part)


@pytest.mark.parametrize(
    ("data", "size"), [(JPEG[:-1000], FULL_HD), (JPEG, (960, 540)), (JPEG, (1920, 1088)), (JPEG[:300], FULL_HD)]
)
def test_what_is_wrong_with_a_file_is_said_in_the_same_words(data: bytes, size: tuple[int, int]) -> None:
    frame, said = Frame(0, np.eye(4), image=data, camera=camera(*size)), []
    for reduced in (False, True):
        with pytest.raises(FrameRejected) as refusal:
            image_input(frame, TINY, reduced=reduced)
        said.append(str(refusal.value))
    assert said[0] == said[1] and ("1920x1080" in said[0] or "truncated" in said[0])


def test_a_file_that_says_to_be_turned_is_refused_as_before() -> None:
    """EXIF orientation 6: decoders turn it upright, calibrations mean it as it was taken."""
    tag = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"  # orientation, one short, 6
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + tag + b"\0\0\0\0"
    turned = JPEG[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + JPEG[2:]
    for reduced in (False, True):
        with pytest.raises(FrameRejected, match=r"expected 1920x1080 .* found 1080x1920"):
            image_input(Frame(0, np.eye(4), image=turned, camera=camera(*FULL_HD)), TINY, reduced=reduced)


def test_the_plain_engine_decodes_whole_files(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "cooptrack_core.model.image_input.decode_bgr",
        lambda data, reduction=1: (asked.append(reduction), noise(0, *(s // reduction for s in FULL_HD)))[1],
    )
    frame = Frame(0, np.eye(4), image=JPEG, camera=camera(*FULL_HD))
    for engine in ("eager", "torch"):
        load_network(NetworkConfig(device="cpu", engine=engine), "inf").step(frame, np.eye(4), ())
    assert asked == [1, 2]
