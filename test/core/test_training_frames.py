"""Frames of a dataset kept for training: decoded once, whole or not at all, and what the roadside sends about them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_spd
import torch
from test_training_stages import config

from cooptrack_core.checkpoints import store
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.image_input import image_input
from cooptrack_core.model.presets import FAMILIES, ModelConfig, get_preset
from cooptrack_core.training import frames as module
from cooptrack_core.training.data import load_data
from cooptrack_core.training.frames import FrameSet, decode_sequence, load_frames
from cooptrack_core.training.messages import _load, send
from cooptrack_core.training.sequence import labelled_frames
from cooptrack_core.types import CooptrackError

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = config("inf")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Four frames of both sides; the images have the aspect ratio that networks take."""
    monkeypatch.setattr(tiny_spd, "IMAGE_SIZE", (64, 36))
    return Dataset(tiny_spd.TinySpd(tmp_path / "spd").write())


@pytest.fixture
def kept(dataset: Dataset, tmp_path: Path) -> FrameSet:
    (tmp_path / "cache").mkdir()
    decode_sequence(dataset.root, "0010", CONFIG, tmp_path / "cache")
    return FrameSet(tuple(module._load(tmp_path / "cache", "0010", CONFIG)))


def test_kept_frames_are_those_of_the_dataset(dataset: Dataset, kept: FrameSet) -> None:
    found = labelled_frames(dataset, "0010")
    assert {clip.agent for clip in kept.clips} == {"vehicle", "rsu"}
    assert kept.frames == len(found) > 0
    for clip in kept.clips:
        own = [item for item in found if item.event.agent_id == clip.agent]
        for index, item in enumerate(own):
            frame = item.event.frame
            made = image_input(frame, CONFIG)
            again = image_input(clip.frame(index), CONFIG)
            np.testing.assert_allclose(again.lidar2img, made.lidar2img, atol=1e-9)
            assert np.abs(again.image - made.image).max() < 0.05  # whole grey levels are kept
            np.testing.assert_array_equal(clip.T_map_from_sensor[index], frame.T_map_from_sensor)
            torch.testing.assert_close(clip.truths[index].boxes, item.truth.boxes, equal_nan=True)
            assert torch.equal(clip.truths[index].ids, item.truth.ids)
        stamps = np.array([item.event.frame.stamp_ns for item in own])
        np.testing.assert_allclose(np.diff(clip.stamp_s), np.diff(stamps) / 1e9, atol=1e-9)
        assert clip.log_time_ns.tolist() == [item.event.log_time_ns for item in own]


def test_frames_are_decoded_once(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def here(root: Path, names: list[str], config: object, folder: Path) -> None:
        for name in names:
            calls.append(name)
            decode_sequence(root, name, CONFIG, folder)

    monkeypatch.setattr(module, "_decode", here)
    first = load_frames(dataset, ["0010"], CONFIG, tmp_path / "cache")
    second = load_frames(dataset, ["0010"], CONFIG, tmp_path / "cache")
    assert calls == ["0010"]
    assert all(np.array_equal(a.images, b.images) for a, b in zip(first.clips, second.clips, strict=True))
    load_frames(dataset, ["0010"], replace(CONFIG, image_size=(64, 96)), tmp_path / "cache")
    assert calls == ["0010", "0010"], "another size of the image is another cache"


def test_two_that_start_at_once_decode_every_sequence_once(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, decoding, waiting = [], threading.Event(), threading.Event()

    def decode(root: Path, name: str, options: ModelConfig, folder: Path) -> None:
        decoded.append(name)
        decoding.set()
        waiting.wait(10.0)
        decode_sequence(root, name, options, folder)

    def here(root: Path, names: Sequence[str], options: ModelConfig, folder: Path) -> None:
        for name in names:
            decode(root, name, options, folder)

    monkeypatch.setattr(module, "_decode", here)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(load_frames, dataset, ["0010"], CONFIG, tmp_path)
        assert decoding.wait(10.0)
        second = pool.submit(load_frames, dataset, ["0010"], CONFIG, tmp_path)
        waiting.set()
        assert first.result(30.0).frames == second.result(30.0).frames > 0
    assert decoded == ["0010"]


def test_a_sequence_that_was_cut_off_is_decoded_again(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    decode_sequence(dataset.root, "0010", CONFIG, folder)
    assert not list(folder.glob("*.part"))
    (folder / "0010.json").unlink()  # written last
    decode_sequence(dataset.root, "0010", CONFIG, folder)
    assert {clip.agent for clip in module._load(folder, "0010", CONFIG)} == {"vehicle", "rsu"}


def test_a_dataset_without_held_out_sequences_is_refused_by_name(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CooptrackError, match=r"split val: none of its sequences is in .*give a dataset that has train"):
        load_data(dataset.root, CONFIG, tmp_path / "cache")


def test_an_unreadable_image_is_named(dataset: Dataset, tmp_path: Path) -> None:
    image = next((dataset.root / "vehicle-side" / "image").glob("*.jpg"))
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(Exception, match=r"image"):
        decode_sequence(dataset.root, "0010", CONFIG, tmp_path)


def test_kept_messages_are_those_that_the_roadside_agent_sends(
    kept: FrameSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the precision of the air, one for each frame, with the sender's pose and the network's fingerprint."""
    torch.manual_seed(0)
    monkeypatch.setitem(FAMILIES, "tiny", replace(FAMILIES["tiny"], min_peak_score=0.0))
    model = AgentModel(get_preset("tiny_inf")).eval()
    with torch.no_grad():
        model.heads.class_head[-1].bias.fill_(1.0)  # reports
    fingerprint = store.save(tmp_path / "tiny_inf.safetensors", model)
    (clip,) = kept.of("rsu").clips
    send(tmp_path / "tiny_inf.safetensors", "tiny_inf", clip, tmp_path)
    messages = _load(tmp_path / "0010.npz", clip)
    assert len(messages) == len(clip)
    for index, message in enumerate(messages):
        features = message.instances.features
        assert len(message.instances) > 0 and features is not None
        assert features.fingerprint == fingerprint and features.query.shape == (len(message.instances), 128)
        assert np.array_equal(features.query.astype(np.float16).astype(np.float32), features.query)
        np.testing.assert_array_equal(message.T_map_from_sensor, clip.T_map_from_sensor[index])
