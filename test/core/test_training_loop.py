"""What a training step does, and which weights are evaluated and exported."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_run import equal, lines, options, run
from small_stage import SmallStage
from torch import nn

from cooptrack_core.training.ema import Ema
from cooptrack_core.training.optimizer_state import adam_w
from cooptrack_core.training.schedule import rate_factor
from cooptrack_core.training.stage import LoopOptions, mix
from cooptrack_core.training.stages import StageOptions
from cooptrack_core.training.steps import Stepper
from cooptrack_core.training.tensor_files import read_tensors

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_stage_learns_and_its_averaged_weights_are_exported(tmp_path: Path) -> None:
    result = run(tmp_path, SmallStage(StageOptions(steps=120)), learning_rate=0.03)
    losses = [line["values"]["loss"] for line in lines(tmp_path, "train")]  # type: ignore[index]
    assert losses[-1] < 0.2 * losses[0]
    assert (result.steps, result.already) == (120, False)
    exported, last = load_file(result.files[0]), read_tensors(tmp_path / "step_00000120", "weights")
    averages = read_tensors(tmp_path / f"step_{result.best_step:08}", "ema")
    assert all(torch.equal(exported[name], averages[name]) for name in averages)
    assert not equal(exported, last) and exported.keys() == last.keys()
    with safe_open(result.files[0], framework="pt") as file:
        notes = file.metadata()
    assert notes["step"] == f"{result.best_step} of 120" and notes["stage"] == "small" and "score" in notes


def test_what_is_frozen_or_unused_stays_and_the_rest_moves(tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in SmallStage().network.state_dict().items()}
    run(tmp_path)
    after = read_tensors(tmp_path / "step_00000020", "weights")
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"layers", "sometimes"}


def test_rate_rises_from_its_share_and_falls_by_a_cosine() -> None:
    chosen = LoopOptions(warm_up_steps=10, warm_up_from=0.25, last_rate=0.01)
    rates = [rate_factor(step, 100, chosen) for step in range(101)]
    assert rates[0] == pytest.approx(0.25)
    cosine = [0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / 100)) for step in range(101)]
    assert rates[4] == pytest.approx(cosine[4] * (0.25 + 0.75 * 0.4))
    assert rates[10:] == pytest.approx(cosine[10:])
    assert rates[50] == pytest.approx(0.505) and rates[100] == pytest.approx(0.01)
    assert rate_factor(0, 100, replace(chosen, warm_up_steps=0)) == 1.0


def test_groups_have_their_share_of_the_rate() -> None:
    stepping = stepper(SmallStage(), options())
    taken = stepping(0)
    assert [group["lr"] for group in stepping.optimizer.param_groups] == pytest.approx([0.01 / 3, 0.001 / 3])
    assert taken.learning_rate == pytest.approx(0.01 / 3)


def stepper(stage: SmallStage, chosen: LoopOptions) -> Stepper:
    stage.network.train()
    return Stepper(stage, chosen, torch.device("cpu"))


def test_a_parameter_in_no_group_is_a_fault_that_is_named() -> None:
    stage = SmallStage()
    stage.network.forgotten = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"forgotten\.weight"):
        adam_w(stage, options())


def test_accumulated_micro_batches_step_like_one_batch(tmp_path: Path) -> None:
    run(tmp_path / "one", SmallStage(StageOptions(batch=12), plain=True))
    parts = SmallStage(StageOptions(batch=4), plain=True)
    parts.network.micros = 3
    run(tmp_path / "three", parts, accumulate=3)
    one, three = (read_tensors(tmp_path / name / "step_00000020", "weights") for name in ("one", "three"))
    assert all(torch.allclose(one[name], three[name], atol=1e-5) for name in one)
    losses = [[line["values"]["loss"] for line in lines(tmp_path / name, "train")] for name in ("one", "three")]  # type: ignore[index]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_long_gradients_are_shortened_and_reported_as_they_were() -> None:
    norms = {}
    for limit in (math.inf, 0.01):
        stage = SmallStage()
        chosen = options(max_gradient_norm=limit)
        reported = stepper(stage, chosen)(0).gradient_norm
        gradients = [p.grad for p in stage.network.parameters() if p.grad is not None]
        norms[limit] = reported, float(torch.cat([g.flatten() for g in gradients]).norm())
    assert norms[math.inf][0] == pytest.approx(norms[math.inf][1]) == pytest.approx(norms[0.01][0])
    assert norms[0.01][1] == pytest.approx(0.01, rel=1e-3)


def test_average_follows_the_weights_fast_first_and_slowly_later() -> None:
    network = nn.Linear(2, 1)
    ema = Ema(network, 0.9)
    expected = network.weight.detach().clone()
    for step in range(200):
        with torch.no_grad():
            network.weight.add_(0.1)
        ema.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.weight.detach()
        if step == 0:
            assert torch.allclose(expected, network.weight - 0.01)
    assert torch.allclose(ema.averages["weight"], expected, atol=1e-5)


def test_weights_are_back_to_the_bit_after_their_average_was_used() -> None:
    network = nn.Linear(3, 2)
    own = {name: value.clone() for name, value in network.state_dict().items()}
    ema = Ema(network, 0.5)
    for average in ema.averages.values():
        average.add_(1.0)
    with pytest.raises(RuntimeError), ema.in_network():
        assert torch.equal(network.weight, own["weight"] + 1.0)
        raise RuntimeError
    assert equal(dict(network.state_dict()), own)


def test_evaluation_sees_the_average_in_evaluation_mode(tmp_path: Path) -> None:
    seen = []

    class Looking(SmallStage):
        def evaluate(self) -> dict[str, float]:
            seen.append(({k: v.clone() for k, v in self.network.state_dict().items()}, self.network.training))
            return super().evaluate()

    run(tmp_path, Looking())
    averages = read_tensors(tmp_path / "step_00000020", "ema")
    assert len(seen) == 3 and not any(training for _, training in seen)
    assert all(torch.equal(seen[-1][0][name], averages[name]) for name in averages)


def test_without_evaluations_the_last_weights_are_exported(tmp_path: Path) -> None:
    class Blind(SmallStage):
        def evaluate(self) -> dict[str, float]:
            return {"loss": 1.0}

    result = run(tmp_path, Blind(), ema_decay=0.0, evaluate_every=0)
    assert (result.best_step, result.score) == (20, None)
    assert equal(load_file(result.files[0]), read_tensors(tmp_path / "step_00000020", "weights"))


def test_mixed_precision_keeps_weights_in_full_precision(tmp_path: Path) -> None:
    dtypes = []
    stage = SmallStage(plain=True)
    stage.network.layers.register_forward_hook(lambda module, given, out: dtypes.append(out.dtype))
    run(tmp_path / "half", stage, precision="bf16", evaluate_every=0)
    run(tmp_path / "full", SmallStage(plain=True))
    assert set(dtypes[:20]) == {torch.bfloat16}
    half, full = (read_tensors(tmp_path / name / "step_00000020", "weights") for name in ("half", "full"))
    assert {value.dtype for value in half.values()} == {torch.float32}
    assert not equal(half, full) and all(torch.allclose(half[name], full[name], atol=0.02) for name in half)


def test_seeds_of_neighbouring_steps_have_nothing_in_common() -> None:
    seeds = [
        mix(seed, step, micro, rank) for seed in (0, 1) for step in range(50) for micro in (0, 1) for rank in (0, 1)
    ]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**64 for seed in seeds)
    ones = [sum(bin(a ^ b).count("1") for b in seeds[:40]) / 39 for a in seeds[:40]]
    assert min(ones) > 28 and max(ones) < 36
    assert mix(1, 2, 3) == mix(1, 2, 3) != mix(1, 3, 2)
