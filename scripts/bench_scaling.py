#!/usr/bin/env python3
"""How cost grows with agents, instances, image, BEV grid and history; processor time of one thread, synthetic data.

Networks are those that nodes run on a CPU: engine torch, fp32. `--plots docs/images` draws the curves as well. The
slope is that of a straight line through all points: ms for one more agent, instance, million pixels, thousand cells,
frame.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench.machine import gpu_name, machine_line
from bench_agents import late_row, learned_row, timed

from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.allocator import keep_memory
from cooptrack_core.model.association import UNSCORED, GraphAssociation, match_by_affinity
from cooptrack_core.model.engine import engine_of
from cooptrack_core.model.presets import ModelConfig, get_preset
from cooptrack_core.model.queries import Queries

ASSOCIATION_GOAL_MS = 10.0
AGENTS, OBJECTS = (1, 2, 4, 8, 16), 40
INSTANCES = (10, 30, 100, 200, 300)
ASSOCIATED = (10, 30, 100, 200, 300)  # with 900 queries
IMAGES = ((96, 160), (192, 320), (288, 480), (384, 640), (544, 960))  # height, width
GRIDS = (16, 32, 50, 75, 100)
HISTORIES = (0, 1, 2, 4, 8)
TRACKS = 64  # queries with a past
BOX_NOISE = 0.005  # of matching queries, as a share of the range: half a metre


@dataclass(frozen=True)
class Curve:
    """Cost against one size."""

    key: str
    title: str
    x_label: str
    x: tuple[float, ...]
    lines: dict[str, list[float]]  # ms by what is measured

    def slope(self, name: str) -> float:
        """ms per unit of x, least squares."""
        return float(np.polyfit(self.x, self.lines[name], 1)[0])


def agents_curve(repeats: int) -> Curve:
    """Late and learned fusion with 1 to 16 roadside agents."""
    late, learned = [], []
    for count in AGENTS:
        admission, fusion, _ = late_row(count, OBJECTS, repeats)
        late.append(admission + fusion)
        learned.append(learned_row(count, OBJECTS, repeats)[0])
    lines = {"late: admission and fusion": late, "learned: CAA and GBA, preset tiny": learned}
    return Curve("agents", f"Roadside agents, {OBJECTS} objects each", "agents", AGENTS, lines)


def instances_curve(repeats: int) -> Curve:
    """One roadside agent that reports 10 to 300 instances."""
    late, learned = [], []
    for count in INSTANCES:
        admission, fusion, _ = late_row(1, count, repeats)
        late.append(admission + fusion)
        learned.append(learned_row(1, count, repeats)[0])
    lines = {"late: admission and fusion": late, "learned: CAA and GBA, preset tiny": learned}
    return Curve("instances", "Instances of one agent", "instances", INSTANCES, lines)


def association_curve(repeats: int) -> Curve:
    """Affinity and assignment with 900 queries, at the width of r50 and of tiny."""
    lines = {
        f"{preset}, {get_preset(preset).embed_dims} channels": [
            association_ms(count, 900, repeats, preset)[0] for count in ASSOCIATED
        ]
        for preset in ("r50_coop", "tiny_coop")
    }
    return Curve("association", "Association with 900 queries", "instances", ASSOCIATED, lines)


def image_curve(repeats: int) -> Curve:
    """The backbone and neck of tiny on larger images."""
    sizes = [replace(get_preset("tiny_inf"), image_size=size) for size in IMAGES]
    millions = tuple(height * width / 1e6 for height, width in IMAGES)
    return Curve("image", "Image size, backbone and neck", "megapixels", millions, {"preset tiny": [
        _network_ms(config, _backbone, repeats) for config in sizes
    ]})  # fmt: skip


def grid_curve(repeats: int) -> Curve:
    """The BEV encoder of tiny on larger grids."""
    configs = [replace(get_preset("tiny_inf"), bev_size=(size, size)) for size in GRIDS]
    thousands = tuple(size * size / 1e3 for size in GRIDS)
    return Curve("bev", "BEV grid, encoder with memory", "thousand cells", thousands, {"preset tiny": [
        _network_ms(config, _encoder, repeats) for config in configs
    ]})  # fmt: skip


def history_curve(repeats: int) -> Curve:
    """History reasoning of tiny over more frames; half of the queries are tracks, the others are fresh."""
    configs = [replace(get_preset("tiny_inf"), history_length=length) for length in HISTORIES]
    return Curve("history", f"History, 128 queries, {TRACKS} tracks", "frames", HISTORIES, {"preset tiny": [
        _network_ms(config, _history, repeats) for config in configs
    ]})  # fmt: skip


CURVES: dict[str, Callable[[int], Curve]] = {
    "agents": agents_curve, "instances": instances_curve, "association": association_curve, "image": image_curve,
    "bev": grid_curve, "history": history_curve,
}  # fmt: skip


def association_ms(
    instances: int, queries: int, repeats: int, preset: str = "r50_coop", threads: int = 1
) -> tuple[float, float, float]:
    """p50, p90, p99 of affinity and assignment, ms: processor time of one thread, wall time of several.

    Random features; every instance has a query half a metre from it, the other queries are anywhere.
    """
    keep_memory()  # as every process with a network does
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    config = get_preset(preset)
    association, generator = GraphAssociation(config).eval().requires_grad_(False), torch.Generator().manual_seed(0)
    places = torch.rand(queries, 3, generator=generator)
    places[:, 2] = 0.5
    theirs = (places[:instances] + BOX_NOISE * torch.randn(instances, 3, generator=generator)).clamp(0.0, 1.0)
    ego, remote = _random_queries(config, places, generator), _random_queries(config, theirs, generator)
    owner = torch.zeros(instances, dtype=torch.int64)

    def associate(_: int) -> None:
        match_by_affinity(association(ego, remote), ego, remote, owner, config)

    with torch.inference_mode():
        # Random weights find nobody alike: with half of the near pairs allowed the assignment has work to do.
        affinity = association(ego, remote)
        if config.options.affinity_threshold:  # official: none, all pairs are allowed
            threshold = torch.tensor(config.options.affinity_threshold).logit()
            association.affinity[-1].bias += threshold - affinity[affinity > UNSCORED].median()
        taken = timed_each(associate, repeats) if threads == 1 else wall_each(associate, repeats)
    torch.set_num_threads(before)
    p50, p90, p99 = (float(value) for value in np.percentile(taken, (50, 90, 99)))
    return p50, p90, p99


def timed_each(work: Callable[[int], object], repeats: int, warm_up: int = 2) -> list[float]:
    """Processor time of each call in this thread, ms: what else runs on the machine does not count."""
    return [timed(work, 1) for _ in range(warm_up + repeats)][warm_up:]


def wall_each(work: Callable[[int], object], repeats: int, warm_up: int = 2) -> list[float]:
    """Wall time of each call, ms."""
    taken = []
    for number in range(warm_up + repeats):
        start = time.perf_counter_ns()
        work(number)
        taken.append((time.perf_counter_ns() - start) / 1e6)
    return taken[warm_up:]


def _random_queries(config: ModelConfig, places: torch.Tensor, generator: torch.Generator) -> Queries:
    count, dims = len(places), config.embed_dims
    blank = Queries.empty(count, dims=dims, classes=config.num_classes, history=config.history_length, like=places)
    feats, motion = (torch.randn(count, dims, generator=generator) for _ in range(2))
    return blank.with_(ref_pts=places, query_feats=feats, motion_feats=motion)


def _network_ms(config: ModelConfig, part: Callable[[AgentModel], Callable[[], object]], repeats: int) -> float:
    """Of the network that nodes run on a CPU."""
    torch.manual_seed(0)
    model = engine_of(AgentModel(config).eval(), "torch", "fp32", torch.device("cpu"))
    with torch.inference_mode():
        work = part(model)
        return float(np.median(timed_each(lambda _: work(), repeats)))


def _backbone(model: AgentModel) -> Callable[[], object]:
    images = torch.randn(1, 3, *model.config.image_size)
    return lambda: model.neck(model.backbone(images))


def _encoder(model: AgentModel) -> Callable[[], object]:
    config = model.config
    height, width = config.image_size
    maps = model.neck(model.backbone(torch.randn(1, 3, height, width)))
    ahead = torch.tensor([[width / 2, -width, 0, 0], [height / 2, 0, -width, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])[None]
    memory, moved = torch.randn(1, config.bev_cells, config.embed_dims), torch.zeros(1, 18)
    moved[0, 17] = 0.5  # degrees: a vehicle that turns has to rotate its memory

    def encode() -> object:
        ahead[0, 0, 3] += 0.01  # and to project its grid anew: geometry is kept by calibration
        return model.bev_encoder(maps, ahead, moved, memory)

    return encode


def _history(model: AgentModel) -> Callable[[], object]:
    queries = model.assemble(None)
    padding = queries.history_padding.clone()
    padding[:TRACKS] = False
    queries = queries.with_(history_padding=padding).map(lambda value: value[None])
    return lambda: model.reasoner(queries)


def draw(curves: list[Curve], folder: Path, machine: str) -> list[Path]:
    """A picture of each curve, scaling_KEY.svg."""
    from cooptrack_core.evaluation.plots import plot_style, save_figure, subplots

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for curve in curves:
        with plot_style():
            figure, axes = subplots(1, 1, width=5.6, height=3.4)
            for name, values in curve.lines.items():
                label = f"{name}: {curve.slope(name):.3g} ms per {_one(curve.x_label)}"
                axes[0][0].plot(curve.x, values, marker="o", label=label)
            if curve.key == "association":
                axes[0][0].axhline(ASSOCIATION_GOAL_MS, color="#1c2530", linewidth=0.8, linestyle="--", label="goal")
            axes[0][0].set(title=curve.title, xlabel=curve.x_label, ylabel="processor time (ms)")
            axes[0][0].set_ylim(0, 1.3 * max(map(max, curve.lines.values())))  # room for the legend
            axes[0][0].set_xlim(0, None)
            axes[0][0].legend(loc="upper left")
            figure.supxlabel(machine, fontsize=6, color="#5b6673")
            made.append(save_figure(figure, folder / f"scaling_{curve.key}.svg"))
    return made


def _one(label: str) -> str:
    return {"megapixels": "megapixel", "thousand cells": "thousand cells"}.get(label, label.removesuffix("s"))


def main() -> int:
    """Tables, and pictures if asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=15, help="frames per point (15)")
    parser.add_argument("--only", nargs="+", choices=tuple(CURVES), default=tuple(CURVES), help="these curves")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the curves into this folder, scaling_*.svg")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all points")
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine = machine_line(gpu_name())
    print(f"\n{machine}\none thread, synthetic; processor time, median of {args.repeats}, ms")
    curves = []
    for key in args.only:
        curve = CURVES[key](args.repeats)
        curves.append(curve)
        print(
            f"\n{curve.title:44}" + "".join(f"{x:>9.4g}" for x in curve.x) + f"   slope (ms per {_one(curve.x_label)})"
        )
        for name, values in curve.lines.items():
            print(f"  {name:42}" + "".join(f"{v:>9.2f}" for v in values) + f"   {curve.slope(name):.3g}", flush=True)
    if "association" in args.only:
        print(f"  goal of the last point: {ASSOCIATION_GOAL_MS:.0f}")
    if args.json is not None:
        points = [asdict(curve) | {"slope": {name: curve.slope(name) for name in curve.lines}} for curve in curves]
        args.json.write_text(json.dumps({"machine": machine, "curves": points}, indent=1) + "\n")
    if args.plots is not None:
        print("\nfiles: " + "  ".join(map(str, draw(curves, args.plots, machine))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
