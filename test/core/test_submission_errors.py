"""Submission files that are not sound: refused in one line that names file and entry."""

from __future__ import annotations

import copy
import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from submission_files import START_US, files, row, write

from cooptrack_core.evaluation.submission import read_submission
from cooptrack_core.types import CooptrackError

Spoil = Callable[[dict[str, Any], dict[str, Any]], None]


def spoiled(field: str, value: Any, frame: str = "s0f1", index: int = 1) -> Spoil:
    def spoil(gt: dict[str, Any], pred: dict[str, Any]) -> None:
        pred["results"][frame][index][field] = value

    return spoil


def meta(key: str, value: Any) -> Spoil:
    return lambda gt, pred: gt["meta"].__setitem__(key, value)


def frame(entry: Any) -> Spoil:
    return lambda gt, pred: gt["meta"]["scenes"]["s0"].__setitem__(2, entry)


def without(*keys: Any, of: int = 1) -> Spoil:
    def spoil(*contents: dict[str, Any]) -> None:
        place: Any = contents[of]
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return spoil


BAD_BOXES = {
    "NaN in translation": (spoiled("translation", [1.0, math.nan, 0]), "translation: has nan in"),
    "infinite translation": (spoiled("translation", [math.inf, 0, 0]), "translation: has inf in"),
    "absurd translation": (spoiled("translation", [1e300, 0, 0]), "translation: has 1e+300 in"),
    "huge integer": (spoiled("translation", [10**400, 0, 0]), "translation: has 1000"),
    "two coordinates": (spoiled("translation", [1.0, 2.0]), "translation: has 2 numbers, not 3 numbers"),
    "translation is a string": (spoiled("translation", "here"), "translation: is 'here', not 3 numbers"),
    "strings in translation": (spoiled("translation", ["1", "2", "3"]), "translation: has '1' in"),
    "null in translation": (spoiled("translation", [None, 2, 3]), "translation: has None in"),
    "nested translation": (spoiled("translation", [[1], [2], [3]]), "translation: has [1] in"),
    "NaN in size": (spoiled("size", [1.0, 2.0, math.nan]), "size: has nan in"),
    "size zero": (spoiled("size", [0, 4.0, 1.5]), "size: [0, 4.0, 1.5] is not above 0"),
    "negative size": (spoiled("size", [1.0, -4.0, 1.5]), "size: [1.0, -4.0, 1.5] is not above 0"),
    "size missing": (without("results", "s0f1", 1, "size"), "size: is missing"),
    "no rotation": (spoiled("rotation", [0, 0, 0, 0]), "rotation: [0, 0, 0, 0] is no rotation"),
    "NaN in rotation": (spoiled("rotation", [1, 0, 0, math.nan]), "rotation: has nan in"),
    "yaw as rotation": (spoiled("rotation", 0.5), "rotation: is 0.5, not 4 numbers"),
    "velocity of three": (spoiled("velocity", [1, 2, 3]), "velocity: has 3 numbers, not 2 numbers"),
    "infinite velocity": (spoiled("velocity", [math.inf, 0]), "velocity: has inf in"),
    "velocity missing": (without("results", "s0f1", 1, "velocity"), "velocity: is missing"),
    "velocity is a string": (spoiled("velocity", "fast"), "velocity: is 'fast', not 2 numbers"),
    "score NaN": (spoiled("tracking_score", math.nan), "tracking_score: has nan, not a finite number"),
    "score is a string": (spoiled("tracking_score", "0.5"), "tracking_score: has '0.5', not a finite number"),
    "score is null": (spoiled("tracking_score", None), "tracking_score: has None, not a finite number"),
    "negative score": (spoiled("tracking_score", -0.1), "tracking_score: -0.1 is negative"),
    "score missing": (without("results", "s0f1", 1, "tracking_score"), "tracking_score: is missing"),
    "unknown class": (spoiled("tracking_name", "tank"), "tracking_name: is 'tank', not a class of meta.class_range"),
    "class is a list": (spoiled("tracking_name", ["car"]), "tracking_name: is ['car'], not a class"),
    "id is null": (spoiled("tracking_id", None), "tracking_id: is None, not a string"),
    "id missing": (without("results", "s0f1", 1, "tracking_id"), "tracking_id: is missing"),
    "id twice": (spoiled("tracking_id", "a"), "tracking_id: 'a' is twice in this frame (also results.s0f1[0])"),
    "of another frame": (spoiled("sample_token", "s0f2"), "sample_token: is 's0f2', but the box is listed under"),
}


@pytest.mark.parametrize("name", BAD_BOXES)
def test_a_bad_box_is_named_by_file_frame_place_and_field(tmp_path: Path, name: str) -> None:
    spoil, expected = BAD_BOXES[name]
    gt, pred = files()
    spoil(gt, pred)
    gt_path, pred_path = write(tmp_path, gt, pred)
    with pytest.raises(CooptrackError) as raised:
        read_submission(gt_path, pred_path)
    text = str(raised.value)
    assert text.startswith(f"{pred_path}: results.s0f1[1].{expected}") and "\n" not in text and "; " in text


BAD_FILES: dict[str, tuple[Spoil, str, str]] = {
    "unknown frame": (
        lambda gt, pred: pred["results"].update(nowhere=[]),
        "pred",
        "results.nowhere: is a sample token that meta.scenes of the ground truth does not list",
    ),
    "unknown frame of the truth": (lambda gt, pred: gt["results"].update(nowhere=[]), "gt", "results.nowhere: is a"),
    "boxes are an object": (lambda gt, pred: pred["results"].update(s0f1={}), "pred", "results.s0f1: is dict, not a"),
    "a box is a list": (lambda gt, pred: pred["results"].update(s0f1=[[]]), "pred", "results.s0f1[0]: is list, not an"),
    "too many boxes": (
        lambda gt, pred: pred["results"].update(s0f1=[row(str(i)) for i in range(501)]),
        "pred",
        "results.s0f1: has 501 boxes, more than 500",
    ),
    "a bad box of the truth": (
        lambda gt, pred: gt["results"]["s1f2"][0].update(size=[1, 1, -1]),
        "gt",
        "results.s1f2[0].size: [1, 1, -1] is not above 0",
    ),
    "an id twice in the truth": (
        lambda gt, pred: gt["results"]["s1f2"][1].update(tracking_id="a"),
        "gt",
        "results.s1f2[1].tracking_id: 'a' is twice in this frame (also results.s1f2[0])",
    ),
    "no results": (without("results"), "pred", "results: is missing"),
    "results are a list": (lambda gt, pred: pred.update(results=[]), "pred", "results: is list, not an object"),
    "no meta": (without("meta", of=0), "gt", "meta: is missing"),
    "no scenes": (without("meta", "scenes", of=0), "gt", "meta.scenes: is missing"),
    "no class_range": (without("meta", "class_range", of=0), "gt", "meta.class_range: is missing"),
    "empty split": (meta("scenes", {}), "gt", "meta.scenes: has no frames"),
    "empty scenes": (meta("scenes", {"s0": []}), "gt", "meta.scenes: has no frames"),
    "scenes are a list": (meta("scenes", []), "gt", "meta.scenes: is list, not an object"),
    "no class": (meta("class_range", {}), "gt", "meta.class_range: names no class"),
    "range zero": (meta("class_range", {"car": 0}), "gt", "meta.class_range.car: is 0 m"),
    "range in quotes": (meta("class_range", {"car": "50"}), "gt", "meta.class_range.car: is '50', not a finite number"),
    "a class named mAP": (
        meta("class_range", {"car": 50, "mAP": 40}),
        "gt",
        "meta.class_range: 'mAP' is no name of a class, the scores",
    ),
    "range NaN": (meta("class_range", {"car": math.nan}), "gt", "meta.class_range.car: is nan, not a finite number"),
    "frame of two": (frame(["s0f2", START_US]), "gt", "meta.scenes.s0[2]: has 2 entries, not 3"),
    "frame is a token": (frame("s0f2"), "gt", "meta.scenes.s0[2]: is str, not a list"),
    "frame twice": (frame(["s0f1", START_US * 2, [0, 0]]), "gt", "meta.scenes.s0[2]: sample token 's0f1' is listed"),
    "token is a number": (frame([7, START_US, [0, 0]]), "gt", "meta.scenes.s0[2][0]: is 7, not a sample token"),
    "time is a string": (frame(["s0f2", "1", [0, 0]]), "gt", "meta.scenes.s0[2][1]: is '1', not integer microseconds"),
    "time is NaN": (frame(["s0f2", math.nan, [0, 0]]), "gt", "meta.scenes.s0[2][1]: is nan, not integer"),
    "ego of three": (frame(["s0f2", START_US * 2, [0, 0, 0]]), "gt", "meta.scenes.s0[2][2]: is [0, 0, 0], not two"),
    "ego NaN": (frame(["s0f2", START_US * 2, [0, math.nan]]), "gt", "meta.scenes.s0[2][2][1]: is nan, not a finite"),
    "a token of two lines": (
        lambda gt, pred: pred["results"].update({"a\nb": []}),
        "pred",
        "results.'a\\nb': is a sample",
    ),
    "a class of two lines": (meta("class_range", {"a\nb": 1}), "gt", "meta.class_range: 'a\\nb' is no name of a class"),
    "same time": (frame(["s0f2", START_US, [0, 0]]), "gt", "meta.scenes.s0: frames 's0f0' and 's0f2' have the same"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_with_the_entry(tmp_path: Path, name: str) -> None:
    spoil, which, expected = BAD_FILES[name]
    gt, pred = files()
    spoil(gt, pred)
    paths = dict(zip(("gt", "pred"), write(tmp_path, gt, pred), strict=True))
    with pytest.raises(CooptrackError) as raised:
        read_submission(paths["gt"], paths["pred"])
    text = str(raised.value)
    assert text.startswith(f"{paths[which]}: {expected}") and "\n" not in text and "; " in text


def test_files_that_are_no_json_are_refused_in_one_line(tmp_path: Path) -> None:
    gt, pred = write(tmp_path, *files())
    packed = gzip.compress(pred.read_bytes())
    for content, expected in (
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"[]", "is list, not an object"),
        (b"\xff\xfe{}", "is not valid JSON"),
        (b'{"results": ' + b"[" * 200_000, "is n"),
        (packed[:-20], "is not sound gzip data"),
        (packed[:40] + b"\0" * 40 + packed[80:], "is not sound gzip data"),
        (packed[:5], "is not sound gzip data"),
    ):
        pred.write_bytes(content)
        with pytest.raises(CooptrackError) as raised:
            read_submission(gt, pred)
        assert str(raised.value).startswith(f"{pred}: ") and expected in str(raised.value)
        assert "\n" not in str(raised.value)
    for path, expected in ((tmp_path / "none.json", "file: is missing"), (tmp_path, "file: cannot be read")):
        with pytest.raises(CooptrackError, match=f"{path}: {expected}"):
            read_submission(gt, path)


JUNK: tuple[Any, ...] = (
    None, True, 7, -1, 1e400, math.nan, "", "x", "1\n2", [], [1], [[]], [None] * 4, [math.nan] * 3, ["a"] * 3, {},
    {"a": 1}, [[1, 2, 3]] * 3, 2**70, -(10**30), [True, "1", None], "\ud800",
)  # fmt: skip


def test_no_junk_in_any_place_ends_in_anything_but_one_line(tmp_path: Path) -> None:
    sound = files({"s": 2})
    for which, path, junk in [(i, path, junk) for i in (0, 1) for path in places(sound[i]) for junk in JUNK]:
        contents = copy.deepcopy(sound)
        replace(contents[which], path, junk)
        try:
            read_submission(*write(tmp_path, *contents))
        except CooptrackError as error:
            assert "\n" not in str(error) and str(error).startswith(str(tmp_path)), (path, junk)


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything in a JSON value, of lists only to the first entry."""
    if isinstance(content, dict):
        inner = [(key, content[key]) for key in content]
    else:
        inner = list(enumerate(content))[:1] if isinstance(content, list) else []
    return [*([path] if path else []), *(place for key, value in inner for place in places(value, (*path, key)))]


def replace(content: Any, path: tuple[Any, ...], value: Any) -> None:
    """Puts a value into a JSON value."""
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value
