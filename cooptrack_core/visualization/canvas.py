"""Anti-aliased drawing on an RGB image with OpenCV: translucent shapes, dashes, text and labels that keep apart."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.visualization.palette import RGB

Float = NDArray[np.float64]
Image = NDArray[np.uint8]
Rect = tuple[float, float, float, float]  # x, y, width, height

_SHIFT = 4  # OpenCV takes coordinates with 4 fractional bits: no jitter between frames
_LIMIT_PX = 20000.0
_FONT: Any = cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None  # OpenCV 5 carries a real typeface


class Canvas:
    """An image [H, W, 3] and a scale: lengths given in design pixels are multiplied by it."""

    def __init__(self, image: Image, scale: float = 1.0) -> None:
        self.image = image
        self.scale = scale
        self.labels: list[Rect] = []

    def line(self, points: ArrayLike, color: RGB, width: float = 1.0, alpha: float = 1.0, closed: bool = False) -> None:
        """Polyline through points [N, 2] in pixels."""
        p = _fixed(points)
        if len(p) < 2:
            return
        thickness = max(1, round(width * self.scale))

        def draw(image: Image, q: NDArray[np.int32]) -> None:
            cv2.polylines(image, [q], closed, color, thickness, cv2.LINE_AA, _SHIFT)

        self._blend(p, thickness + 1, alpha, draw)

    def dashed(
        self, points: ArrayLike, color: RGB, width: float = 1.0, dash: float = 6.0, closed: bool = False
    ) -> None:
        """Dashed polyline; dash: length of a dash and of a gap in design pixels."""
        p = np.asarray(points, np.float64).reshape(-1, 2)
        p = np.vstack([p, p[:1]]) if closed else p
        dashes = []
        for a, b in pairwise(p):
            length = float(np.hypot(*(b - a)))
            if 0 < length < _LIMIT_PX:
                # Dashes sit symmetrically on each edge, so that corners are always drawn.
                count = max(1, 2 * round(length / (dash * self.scale) / 2) + 1)
                ends = np.arange(0, count, 2)[:, None, None] + np.array([0, 1])[None, :, None]
                dashes.append(a + (b - a) * ends / count)
        if dashes:
            lines = _fixed(np.concatenate(dashes)).reshape(-1, 2, 2)
            cv2.polylines(self.image, list(lines), False, color, max(1, round(width * self.scale)), cv2.LINE_AA, _SHIFT)

    def fill(self, points: ArrayLike, color: RGB, alpha: float = 1.0) -> None:
        """Filled polygon [N, 2]."""
        p = _fixed(points)
        if len(p) >= 3:
            self._blend(p, 1, alpha, lambda image, q: cv2.fillPoly(image, [q], color, cv2.LINE_AA, _SHIFT))

    def circle(self, center: ArrayLike, radius: float, color: RGB, width: float = -1.0, alpha: float = 1.0) -> None:
        """Circle of a radius in design pixels; filled where width is negative."""
        angle = np.linspace(0, 2 * np.pi, 49)[:-1]
        ring = np.asarray(center, np.float64) + radius * self.scale * np.stack([np.cos(angle), np.sin(angle)], -1)
        if width < 0:
            self.fill(ring, color, alpha)
        else:
            self.line(ring, color, width, alpha, closed=True)

    def arrow(self, start: ArrayLike, end: ArrayLike, color: RGB, width: float = 2.0, head: float = 7.0) -> None:
        """Line with a filled head at its end."""
        a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
        length = float(np.hypot(*(b - a)))
        if length < 1e-6:
            return
        along = (b - a) / length
        across = np.array([-along[1], along[0]])
        size = head * self.scale
        base = b - along * min(size, length)
        self.line([a, base], color, width)
        self.fill([b, base + across * size * 0.5, base - across * size * 0.5], color)

    def panel(self, rect: Rect, color: RGB, alpha: float = 1.0, border: RGB | None = None, radius: float = 6.0) -> None:
        """Rounded rectangle."""
        x, y, w, h = rect
        r = min(radius * self.scale, w / 2, h / 2)
        quarter = np.linspace(0, np.pi / 2, 7)
        corners = [(x + w - r, y + h - r, 0), (x + r, y + h - r, 1), (x + r, y + r, 2), (x + w - r, y + r, 3)]
        outline = np.concatenate(
            [
                np.stack([cx + r * np.cos(quarter + k * np.pi / 2), cy + r * np.sin(quarter + k * np.pi / 2)], -1)
                for cx, cy, k in corners
            ]
        )
        self.fill(outline, color, alpha)
        if border is not None:
            self.line(outline, border, 1.0, closed=True)

    def text_width(self, text: str, size: float, weight: int = 400) -> float:
        """Width in pixels of a text of a size in design pixels."""
        if _FONT is None:
            (width, _), _ = cv2.getTextSize(_plain(text), cv2.FONT_HERSHEY_SIMPLEX, size * self.scale / 30, 1)
            return float(width)
        rect = cv2.getTextSize((0, 0), text, (0, 0), _FONT, max(6, round(size * self.scale)), weight)
        return float(rect[2])

    def text(
        self, at: ArrayLike, text: str, color: RGB, size: float = 14.0, weight: int = 400, anchor: str = "left"
    ) -> float:
        """Text with its baseline at a point; anchor: left, center or right. Returns its width in pixels."""
        width = self.text_width(text, size, weight)
        x, y = np.asarray(at, np.float64)
        x -= {"left": 0.0, "center": width / 2, "right": width}[anchor]
        if _FONT is None:
            scale, thickness = size * self.scale / 30, 2 if weight > 500 else 1
            place = (round(x), round(y))
            cv2.putText(self.image, _plain(text), place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thickness, cv2.LINE_AA)
        else:
            pixels = max(6, round(size * self.scale))
            cv2.putText(self.image, text, (round(x), round(y)), color, _FONT, pixels, weight)
        return width

    def label(
        self, at: ArrayLike, text: str, color: RGB, ground: RGB, *, size: float = 13.0, border: RGB | None = None,
        gap: float = 12.0,
    ) -> None:  # fmt: skip
        """Pill with text near a point, moved aside (with a leader line) where another label is already."""
        x, y = np.asarray(at, np.float64)
        w = self.text_width(text, size, 600) + 10 * self.scale
        h = (size + 6) * self.scale
        rect = self._free_place(x, y, w, h, gap * self.scale)
        self.labels.append(rect)
        left, top = rect[0], rect[1]
        center = np.array([left + w / 2, top + h / 2])
        if np.hypot(center[0] - x, center[1] - y) > (gap + 1.5 * size) * self.scale:
            self.line(np.array([[x, y], center]), border or color, 1.0, 0.7)
        self.panel(rect, ground, 0.86, border, radius=5)
        self.text((left + 5 * self.scale, top + h - 5.5 * self.scale * size / 13), text, color, size, 600)

    def _free_place(self, x: float, y: float, w: float, h: float, gap: float) -> Rect:
        height, width = self.image.shape[:2]
        best: tuple[float, Rect] | None = None
        for ring, cost in ((1.0, 0.0), (2.2, 0.3), (3.6, 0.6), (5.2, 0.9)):
            for dx, dy in ((0, -1), (1, -0.6), (-1, -0.6), (1, 0.6), (-1, 0.6), (0, 1)):
                left = x - w / 2 + dx * (w * 0.55 + gap * ring * 0.7)
                top = y - h / 2 + dy * (h / 2 + gap * ring)
                left, top = min(max(left, 2.0), width - w - 2), min(max(top, 2.0), height - h - 2)
                rect = (left, top, w, h)
                score = cost + 4 * sum(_overlap(rect, other) for other in self.labels) / (w * h)
                if best is None or score < best[0]:
                    best = score, rect
            if best is not None and best[0] <= cost:
                break
        assert best is not None
        return best[1]

    def _blend(self, points: NDArray[np.int32], pad: int, alpha: float, draw: Any) -> None:
        """Draws directly, or through a copy of the touched part where translucent."""
        if alpha >= 1.0:
            draw(self.image, points)
            return
        height, width = self.image.shape[:2]
        low = np.maximum((points.min(axis=0) >> _SHIFT) - pad, 0)
        high = np.minimum((points.max(axis=0) >> _SHIFT) + pad + 2, [width, height])
        if alpha <= 0.0 or np.any(high <= low):
            return
        part = self.image[low[1] : high[1], low[0] : high[0]]
        layer = part.copy()
        draw(layer, (points - (low << _SHIFT)).astype(np.int32))
        cv2.addWeighted(layer, alpha, part, 1 - alpha, 0, dst=layer)
        part[...] = layer


def blank(width: int, height: int, color: RGB) -> Image:
    """Image [height, width, 3] of one colour."""
    image = np.empty((height, width, 3), np.uint8)
    cv2.rectangle(image, (0, 0), (width, height), color, cv2.FILLED)
    return image


def fit(image: Image, width: int, height: int, ground: RGB) -> tuple[Image, float, tuple[float, float]]:
    """The image scaled into width x height with bars; also the scale and the (x, y) offset of its corner."""
    scale = min(width / image.shape[1], height / image.shape[0])
    w, h = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out = blank(width, height, ground)
    x, y = (width - w) // 2, (height - h) // 2
    out[y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=method)
    return out, scale, (float(x), float(y))


def decode(data: bytes | None, from_width: int = 0, to_width: int = 0) -> Image | None:
    """RGB image [H, W, 3] of an encoded one; None where there is none or it cannot be read.

    An image `from_width` wide that is wanted only `to_width` wide may come at half its size, which is faster.
    """
    half = to_width > 0 and from_width >= 2 * to_width
    flags = cv2.IMREAD_REDUCED_COLOR_2 if half else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _fixed(points: ArrayLike) -> NDArray[np.int32]:
    p = np.clip(np.asarray(points, np.float64).reshape(-1, 2), -_LIMIT_PX, _LIMIT_PX)
    return np.asarray(np.round(p * (1 << _SHIFT)), np.int32)


def _overlap(a: Rect, b: Rect) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(w, 0.0) * max(h, 0.0)


def _plain(text: str) -> str:
    """Hershey fonts (OpenCV 4) know ASCII only."""
    return text.replace("·", "|").encode("ascii", "replace").decode()
