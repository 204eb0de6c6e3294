"""Mutated messages, 2,000 here and 100,000 in `make fuzz`: no crash, every number finite, every refusal named."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import fuzz_messages  # noqa: E402
from message_mutations import mutated  # noqa: E402

from cooptrack_core.config import KINEMATICS, PRECISIONS  # noqa: E402
from cooptrack_ros.impairment_node import ros_codec  # noqa: E402


def messages(seed: int) -> tuple[bytes, bytes]:
    rng = np.random.default_rng(seed)
    made = [fuzz_messages.valid(rng, 1 + index, 10**18, fuzz_messages.Maker()) for index in range(2)]
    first, second = (fuzz_messages.WRITER.write(message) for message in made)
    return first, second


def test_two_thousand_mutated_messages_crash_nothing_and_every_refusal_is_documented(tmp_path: Path) -> None:
    with fuzz_messages.native_noise_to(tmp_path / "log"):
        outcome = fuzz_messages.fuzz(0, 0, 2, 0, tmp_path)
    assert outcome.failures == []
    assert outcome.messages == 2000 == sum(outcome.outcomes.values()) and outcome.frames == 200
    # They get far: some are refused at every stage, some are used.
    assert {"malformed", "schema_version", "not_finite", "no_pose", "out_of_order", "admitted"} <= set(outcome.outcomes)
    assert outcome.used > 100 and outcome.outcomes["admitted"] > 100
    documented = (ROOT / "docs" / "nodes.md").read_text()
    assert [name for name in outcome.outcomes if name != "admitted" and name not in documented] == []


def test_messages_are_drawn_in_every_precision_with_either_kinematics_and_with_held_ids() -> None:
    rng = np.random.default_rng(0)
    sent = [fuzz_messages.valid(rng, 1 + index, 10**18, fuzz_messages.Maker()) for index in range(200)]
    codec = ros_codec()
    read = [codec.read(fuzz_messages.WRITER.write(message), "rsu") for message in sent]
    assert {(got.precision, got.kinematics) for got in read} == set(itertools.product(PRECISIONS, KINEMATICS))
    assert [got.held_id.tolist() for got in read] == [message.held_id.tolist() for message in sent]
    assert any(len(got.held_id) for got in read)


def test_a_refusal_that_no_rule_of_admission_gives_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = fuzz_messages.Refusal("rsu", 1, "looks_like_a_name")
    monkeypatch.setattr(fuzz_messages.VehicleAgent, "receive_fields", lambda *_: refused)
    outcome = fuzz_messages.Block(0, 4, ros_codec(), False, tmp_path).run()
    assert "ValueError: refusal without a name: 'looks_like_a_name'" in outcome.failures[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_seed_gives_the_same_bytes_again_and_most_differ_from_the_valid_ones(seed: int) -> None:
    whole, other = messages(seed)
    first, second = (
        [mutated(whole, other, fuzz_messages.WRITER, np.random.default_rng(n)) for n in range(200)] for _ in "ab"
    )
    assert first == second
    assert sum(data != whole for data, _ in first) > 150
    assert len({kind for _, kind in first}) >= 9


def test_what_fails_is_kept_for_repetition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: fuzz_messages.VehicleAgent, frame: fuzz_messages.Frame) -> None:
        raise RuntimeError("the step broke")

    monkeypatch.setattr(fuzz_messages.VehicleAgent, "step", broken)
    outcome = fuzz_messages.Block(0, 4, ros_codec(), False, tmp_path).run()
    assert len(outcome.failures) == 100 and "block 4, message 9: RuntimeError: the step broke" in outcome.failures[0]
    kept = tmp_path / "block4_message9"
    assert len(list(kept.glob("*.bin"))) == 10 and "the step broke" in (kept / "why.txt").read_text()
    assert fuzz_messages.repeat(kept) == 0
