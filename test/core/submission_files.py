"""Builder of small pairs of submission files, sound unless a test spoils them."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

START_US = 1_700_000_000_000_000
TOLERANCE = 1e-9
ORACLE = Path(__file__).parent.parent / "data" / "oracle"
ORACLE_CASES = sorted(path.name.removesuffix(".kit.json.gz") for path in ORACLE.glob("*.kit.json.gz"))


def row(track: str = "a", x: float = 0.0, y: float = 0.0, *, name: str = "car", score: float = 0.5) -> dict[str, Any]:
    """A box; of ground truth the score does not count."""
    return {
        "translation": [x, y, 0.5],
        "size": [1.8, 4.4, 1.5],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [1.0, 0.0],
        "tracking_id": track,
        "tracking_name": name,
        "tracking_score": score,
    }


def files(scenes: dict[str, int] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Content of both files: scenes with so many frames (two of three), two cars each, found 0.1 m away."""
    listed: dict[str, Any] = {}
    gt: dict[str, Any] = {}
    pred: dict[str, Any] = {}
    for scene, count in (scenes or {"s0": 3, "s1": 3}).items():
        listed[scene] = [[f"{scene}f{i}", START_US + 100_000 * i, [0.5 * i, 0.0]] for i in range(count)]
        for index in range(count):
            places = [("a", 5.0 + index), ("b", -7.0 + index)]
            gt[f"{scene}f{index}"] = [row(track, x) for track, x in places]
            pred[f"{scene}f{index}"] = [row(track, x + 0.1, score=0.9) for track, x in places]
    meta = {"scenes": listed, "class_range": {"car": 50, "bicycle": 40}}
    return {"meta": meta, "results": gt}, {"meta": {"use_camera": True}, "results": pred}


def write(directory: Path, gt: Any, pred: Any, suffix: str = ".json") -> tuple[Path, Path]:
    """Both as files; with the suffix .json.gz compressed."""
    paths = []
    for name, content in (("gt", gt), ("pred", pred)):
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        paths.append(directory / f"{name}{suffix}")
        paths[-1].write_bytes(gzip.compress(text) if suffix.endswith(".gz") else text)
    return paths[0], paths[1]


def oracle(case: str) -> tuple[Path, Path, Any]:
    """Both files of a stored comparison and what the nuScenes kit makes of them."""
    gt, pred, kit = (ORACLE / f"{case}.{kind}.json.gz" for kind in ("gt", "pred", "kit"))
    return gt, pred, json.loads(gzip.decompress(kit.read_bytes()))


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Every number that differs by more than the tolerance; None equals only None."""
    if isinstance(theirs, dict):
        if set(ours) != set(theirs):
            return [f"{where}: {sorted(ours)} instead of {sorted(theirs)}"]
        return [line for key in theirs for line in differences(ours[key], theirs[key], f"{where}.{key}")]
    if ours is None or theirs is None:
        return [] if ours is theirs else [f"{where}: {ours} instead of {theirs}"]
    return [] if math.isclose(ours, theirs, rel_tol=0, abs_tol=TOLERANCE) else [f"{where}: {ours} instead of {theirs}"]
