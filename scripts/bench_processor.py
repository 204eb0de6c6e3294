"""What the processor can do at all: products of matrices, and 3x3 convolutions with and without Winograd's filtering.

No network can be faster than its multiply-adds (`cooptrack model-info PRESET`) at this rate. Machines are shared and
noisy: compare only within one run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from bench.cases import CORES
from bench.machine import gpu_name, machine_line

from cooptrack_core.model.fast import convolutions
from cooptrack_core.model.fast.winograd import Winograd, pays

SIZE = 2048
# Channels and height x width of the 3x3 convolutions of stride 1 in official_r50 and in tiny.
LAYERS = ((64, 136, 240), (128, 68, 120), (256, 34, 60), (512, 17, 30), (64, 24, 40), (128, 12, 20), (256, 6, 10))


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Of calls after one to warm up."""
    call()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e3


def products(repeats: int) -> None:
    """G multiply-adds per second of a product of large matrices."""
    print(f"\n{'product of matrices':28}{'threads':>8}{'ms':>9}{'G/s':>9}")
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(SIZE, SIZE).to(dtype), torch.randn(SIZE, SIZE).to(dtype)
        for threads in sorted({1, CORES}):
            torch.set_num_threads(threads)
            ms = median_ms(partial(torch.mm, a, b), repeats)
            print(f"{f'{SIZE}^3 {dtype}'.replace('torch.', ''):28}{threads:8}{ms:9.1f}{SIZE**3 / ms / 1e6:9.0f}")


def filters(repeats: int) -> None:
    """Direct sums of oneDNN against Winograd's filtering; `used` where engine torch takes the latter."""
    print(f"\n{'3x3 convolution, fp32':28}{'threads':>8}{'direct':>9}{'Winograd':>10}{'direct/':>9}  (ms)")
    torch.set_num_threads(CORES)
    for channels, height, width in LAYERS:
        x = torch.randn(1, channels, height, width).to(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3).to(memory_format=torch.channels_last)
        winograd = Winograd(weight)
        direct_ms = median_ms(partial(convolutions.convolved, x, weight, None, (1, 1), (1, 1)), repeats)
        winograd_ms = median_ms(partial(winograd, x), repeats)
        used = "  used" if pays(channels, channels, height, width) else ""
        name = f"{channels} channels, {width} x {height}"
        print(f"{name:28}{CORES:8}{direct_ms:9.2f}{winograd_ms:10.2f}{direct_ms / winograd_ms:9.2f}{used}")


def main() -> int:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=15, help="timed calls of each (15)")
    args = parser.parse_args()
    print(machine_line(gpu_name()))
    with torch.no_grad():
        products(args.repeats)
        if convolutions.has_fused_convolution():
            filters(args.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
