"""Kept frames as a network is shown them: changes of the view keep image, calibration and labels together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cooptrack_core.model import box_code
from cooptrack_core.model.presets import get_preset
from cooptrack_core.training.augmentation import GridMaskOptions, PhotometricOptions
from cooptrack_core.training.frames import Clip, FrameSet
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.sampling import GroupSampler
from cooptrack_core.training.views import ViewOptions, image_batch, mirrored, view_of

CONFIG = get_preset("tiny_inf")
K = np.array([[364.0, 0, 161], [0, 388, 90], [0, 0, 1]])
AXES = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
# Their centres are seen in the middle of pixels (121, 103) and (221, 101).
BOXES = torch.tensor(
    [
        [30.0, 40 * 30 / 364, -13 * 30 / 388 - 0.75, 1.8, 4.4, 1.5, 0.3, 1, 2],
        [40.0, -60 * 40 / 364, -11 * 40 / 388 - 0.85, 0.6, 1.7, 1.7, 3.0, 0, 1],
    ]
)
CHANGED = ViewOptions(mirror_probability=0.5, zoom=(0.8, 1.3), shift=0.1)


def clip(folder: Path, name: str = "0001", frames: int = 7) -> Clip:
    """A camera that looks along x at two road users; each is a bright dot where its centre is seen."""
    truth = GroundTruth(BOXES, torch.tensor([0, 1]), torch.tensor([4, 9]), torch.tensor([True, True]))
    images = np.full((frames, 180, 320, 3), 40, np.uint8)
    for u, v in pixels_of(K @ AXES[:3], truth).round().astype(int):
        images[:, v - 1 : v + 2, u - 1 : u + 2] = 255
    np.save(folder / f"{name}_rsu.npy", images)
    same = np.ones((frames, 1, 1))
    stamps = 0.1 * np.arange(frames)
    return Clip(
        name, "rsu", folder, same * K, same * AXES, same * np.eye(4), stamps, 0.0 * stamps,
        (stamps * 1e9).astype(np.int64), (truth,) * frames, CONFIG,
    )  # fmt: skip


def pixels_of(projection: np.ndarray, truth: GroundTruth) -> np.ndarray:
    centre = box_code.gravity_center(truth.boxes).double().numpy()
    found = centre @ projection[:3, :3].T + projection[:3, 3]
    return found[:, :2] / found[:, 2:]


@pytest.mark.parametrize("seed", range(8))
def test_labels_stay_on_what_the_changed_image_shows(tmp_path: Path, seed: int) -> None:
    view = view_of(clip(tmp_path), 2, CONFIG, CHANGED, seed)
    shown = 0
    for u, v in pixels_of(view.lidar2img, view.truth):
        if 3 < u < 316 and 3 < v < 176:
            shown += 1
            patch = view.pixels[round(v) - 2 : round(v) + 3, round(u) - 2 : round(u) + 3, 0].astype(float)
            rows, columns = np.mgrid[-2:3, -2:3]
            weight = np.clip(patch - 60, 0, None)
            assert weight.sum() > 200
            assert abs((weight * rows).sum() / weight.sum() - (v - round(v))) < 0.2
            assert abs((weight * columns).sum() / weight.sum() - (u - round(u))) < 0.2
    assert shown >= 1


def test_changes_are_the_same_for_a_seed_and_others_for_another(tmp_path: Path) -> None:
    kept = clip(tmp_path)
    first, again, other = (view_of(kept, 1, CONFIG, CHANGED, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.lidar2img, again.lidar2img)
    assert not np.array_equal(first.lidar2img, other.lidar2img)


def test_without_changes_the_frame_is_shown_as_it_was_kept(tmp_path: Path) -> None:
    kept = clip(tmp_path)
    view = view_of(kept, 1, CONFIG, ViewOptions(), 5)
    assert np.array_equal(view.pixels[:180], kept.images[1])
    assert np.array_equal(view.lidar2img, kept.lidar2img[1])
    assert view.truth is kept.truths[1]


def test_mirrored_twice_is_as_before_and_once_turns_left_into_right() -> None:
    truth = GroundTruth(BOXES, torch.tensor([0, 1]), torch.tensor([4, 9]))
    once = mirrored(truth)
    torch.testing.assert_close(mirrored(once).codes(), truth.codes())
    before = box_code.to_public(truth.codes().double().numpy())
    after = box_code.to_public(once.codes().double().numpy())
    np.testing.assert_allclose(after.center_m * (1, -1, 1), before.center_m, atol=1e-6)
    np.testing.assert_allclose(after.velocity_mps * (1, -1), before.velocity_mps, atol=1e-6)
    np.testing.assert_allclose(np.exp(1j * after.heading_rad), np.exp(-1j * before.heading_rad), atol=1e-6)


def test_padding_stays_at_the_mean_colour_whatever_happens_to_the_image(tmp_path: Path) -> None:
    view = view_of(clip(tmp_path), 0, CONFIG, ViewOptions(), 0)
    torch.manual_seed(0)
    images = image_batch([view, view], CONFIG, PhotometricOptions(), GridMaskOptions(0.0))
    assert images.shape == (2, 3, *CONFIG.image_size)
    assert (images[:, :, 180:] == 0).all()
    assert (images[:, :, :180] != 0).any()


def test_unchanged_images_are_what_the_nodes_give_the_network(tmp_path: Path) -> None:
    from cooptrack_core.model.image_input import image_input

    kept = clip(tmp_path)
    made = image_input(kept.frame(3), CONFIG)
    view = view_of(kept, 3, CONFIG, ViewOptions(), 0)
    np.testing.assert_allclose(image_batch([view], CONFIG)[0].numpy(), made.image, atol=1e-5)
    np.testing.assert_allclose(view.lidar2img, made.lidar2img, atol=1e-9)


def sampler(folder: Path, length: int, batch: int, seed: int = 0) -> GroupSampler:
    clips = tuple(clip(folder, f"{number:04d}") for number in range(4))
    return GroupSampler.of(FrameSet(clips), length, batch, seed)


def test_every_group_comes_once_before_any_comes_again(tmp_path: Path) -> None:
    groups = sampler(tmp_path, length=3, batch=2)  # 4 clips of 2 groups each
    seen = [(draw.clip.sequence, draw.frame) for step in range(0, 12, 3) for draw in groups.draw(step, 0, range(2))]
    assert len(seen) == len(set(seen)) == 8


def test_a_slot_walks_through_its_group_in_order(tmp_path: Path) -> None:
    groups = sampler(tmp_path, length=3, batch=2)
    for start in (0, 3, 21):
        walks = list(zip(*(groups.draw(start + i, 0, range(2)) for i in range(3)), strict=True))
        for walk in walks:
            assert len({draw.clip.sequence for draw in walk}) == 1
            assert [draw.position for draw in walk] == [0, 1, 2]
            assert [draw.frame - walk[0].frame for draw in walk] == [0, 1, 2]
            assert len({draw.number for draw in walk}) == 1


def test_draws_depend_on_step_and_seed_alone_and_processes_share_a_batch(tmp_path: Path) -> None:
    one, two = sampler(tmp_path, 2, 4), sampler(tmp_path, 2, 4)
    whole = [(draw.clip.sequence, draw.frame) for draw in one.draw(17, 0, range(4))]
    parts = [(draw.clip.sequence, draw.frame) for part in (range(2), range(2, 4)) for draw in two.draw(17, 0, part)]
    assert whole == parts
    first, other = (
        [d.frame for s in range(6) for d in sampler(tmp_path, 1, 4, seed).draw(s, 0, range(4))] for seed in (0, 1)
    )
    assert first != other
