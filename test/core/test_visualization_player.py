"""Guarantees of the HTML player: self-contained, complete, safe to open."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from visualization_recording import FakeWorld

from cooptrack_core.types import CooptrackError
from cooptrack_core.visualization import palette
from cooptrack_core.visualization.canvas import decode
from cooptrack_core.visualization.player import IMAGE_WIDTH_PX, script_json, write_player


class Page(HTMLParser):
    """Script elements by id, and every attribute that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: dict[str, str] = {}
        self.loads: list[str] = []
        self.ended = 0
        self._current: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.loads += [str(values[key]) for key in ("src", "href", "data", "action") if key in values]
        if tag == "script":
            self._current = values.get("id") or "code"
            self.scripts[self._current] = ""

    def handle_data(self, data: str) -> None:
        if self._current is not None:
            self.scripts[self._current] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._current, self.ended = None, self.ended + 1


@pytest.fixture(scope="module")
def world() -> FakeWorld:
    return FakeWorld(frames=4, road_users=10)


@pytest.fixture(scope="module")
def text(world: FakeWorld, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("player") / "new" / "player.html"
    write_player(world.recording(), world.image, path, title="A <b>title</b>")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def write(recording: dict[str, Any], images: Any, tmp_path: Path) -> tuple[dict[str, Any], list[str]]:
    write_player(recording, images, tmp_path / "p.html")
    page = Page((tmp_path / "p.html").read_text(encoding="utf-8"))
    return json.loads(page.scripts["recording"]), json.loads(page.scripts["images"])


def test_page_loads_nothing_from_outside(text: str, page: Page) -> None:
    assert page.loads == []
    assert "default-src 'none'" in text and "@import" not in text
    code = page.scripts["code"]
    # Addresses may stand in licences and namespaces, never where something is requested.
    requested = re.findall(r"""(?:fetch|importScripts|XMLHttpRequest|WebSocket|EventSource)\(\s*["'`]https?:""", code)
    assert requested == []
    assert not re.search(r"""url\(\s*["']?(?:https?:)?//""", text)


def test_page_has_exactly_its_three_scripts(page: Page) -> None:
    assert set(page.scripts) == {"recording", "images", "code"} and page.ended == 3
    assert "</script" not in page.scripts["code"].lower()


def test_title_is_escaped(text: str) -> None:
    assert "<title>A &lt;b&gt;title&lt;/b&gt;</title>" in text


def test_page_holds_every_frame_and_track(world: FakeWorld, page: Page) -> None:
    payload = json.loads(page.scripts["recording"])
    assert [f["t"] for f in payload["frames"]] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    for shown, recorded in zip(payload["frames"], world.recording()["frames"], strict=True):
        assert [t["id"] for t in shown["tracks"]] == [t["id"] for t in recorded["tracks"]]
        assert len(shown["pairs"]) == len(recorded["associations"]["pairs"])
        assert len(shown["truth"]) == len(recorded["ground_truth"])
    assert payload["palette"]["tracks"] == list(palette.TRACK_HEX)


def test_track_is_at_its_place_in_the_world(world: FakeWorld, page: Page) -> None:
    frame = json.loads(page.scripts["recording"])["frames"][2]
    for row, item in zip(world.users, frame["truth"], strict=True):
        center, _, _ = world.user(row, 0.2)
        np.testing.assert_allclose(item["c"], center - [13, 13, 0], atol=2e-3)  # the mast is the origin


def test_images_are_embedded_once_and_small(world: FakeWorld, page: Page) -> None:
    payload, images = json.loads(page.scripts["recording"]), json.loads(page.scripts["images"])
    rows = [camera["image"] for frame in payload["frames"] for camera in frame["cameras"].values()]
    assert sorted(rows) == list(range(8)) and len(images) == 8
    picture = decode(base64.b64decode(images[0]))
    assert picture is not None and picture.shape[1] == IMAGE_WIDTH_PX


def test_missing_images_are_left_out(world: FakeWorld, tmp_path: Path) -> None:
    payload, images = write(world.recording(), lambda agent, stamp: None, tmp_path)
    assert images == []
    assert all(camera["image"] is None for frame in payload["frames"] for camera in frame["cameras"].values())


def test_empty_recording_makes_a_page(world: FakeWorld, tmp_path: Path) -> None:
    payload, images = write({**world.recording(), "frames": []}, world.image, tmp_path)
    assert payload["frames"] == [] and images == [] and payload["ground"] is None


def test_recording_without_roadside_and_cameras_makes_a_page(world: FakeWorld, tmp_path: Path) -> None:
    recording = {**world.recording(), "roadside": [], "cameras": {}}
    payload, _ = write(recording, world.image, tmp_path)
    assert payload["positions"] == {} and payload["cameras"] == {} and len(payload["frames"]) == 4


def test_text_of_the_recording_cannot_end_the_script(world: FakeWorld, tmp_path: Path) -> None:
    recording = world.recording()
    evil = "</script><script>alert(1)</script><!--"
    recording["frames"][0]["refused"] = [{"agent": evil, "sequence": 1, "reason": evil}]
    payload, _ = write(recording, world.image, tmp_path)
    assert payload["frames"][0]["refused"][0]["reason"] == evil
    assert Page((tmp_path / "p.html").read_text(encoding="utf-8")).ended == 3


def test_json_has_neither_nan_nor_markup() -> None:
    text = script_json({"a": [float("nan"), float("inf"), 1.234567], "b": "<&>"})
    assert json.loads(text) == {"a": [None, None, 1.23457], "b": "<&>"}
    assert not set("<>&") & set(text)


def test_not_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CooptrackError, match="schema"):
        write_player({}, lambda agent, stamp: None, tmp_path / "p.html")


def test_built_script_keeps_the_licence_of_three_js() -> None:
    script = files("cooptrack_core.visualization").joinpath("assets", "player.js").read_text(encoding="utf-8")
    assert "The MIT License" in script[:3000] and "three.js authors" in script[:3000]


def test_built_script_is_of_the_sources_beside_it() -> None:
    source = Path(__file__).resolve().parents[2] / "player" / "src"
    digest = hashlib.sha256()
    for path in sorted(source.iterdir(), key=lambda path: path.name):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    script = files("cooptrack_core.visualization").joinpath("assets", "player.js").read_text(encoding="utf-8")
    assert digest.hexdigest() in script[:300], "run `npm run build` in player/"


def test_lock_file_names_no_host() -> None:
    lock = (Path(__file__).resolve().parents[2] / "player" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock or set(re.findall(r'"resolved": "https://([^/"]+)', lock)) == {"registry.npmjs.org"}
