"""What a renderer returns, and which renderer this machine has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.scene import Placement, Scene
from cooptrack_core.data.synthetic.sensors import View
from cooptrack_core.types import CooptrackError

EGL_LINE = "sudo apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri"


@dataclass(frozen=True)
class Picture:
    """One look at the scene. ids: [H, W] road user index + 1, 0 where there is none.

    visible_px and unoccluded_px: pixels of each road user in the image, and what they would be if it
    were alone, in pixels of the full image size even where fewer were sampled.
    """

    rgb: NDArray[np.uint8] | None
    ids: NDArray[np.int32]
    visible_px: dict[int, int]
    unoccluded_px: dict[int, int]


class Renderer(Protocol):
    """Draws one sequence."""

    name: str

    def look(self, view: View, placements: list[Placement], time_s: float) -> Picture:
        """The picture of a camera at a time."""
        ...


def count_ids(ids: NDArray[np.int32], weight: float = 1.0) -> dict[int, int]:
    """Pixels of each road user index."""
    counts = np.bincount(ids.reshape(-1))
    return {int(i) - 1: max(1, round(float(counts[i]) * weight)) for i in np.flatnonzero(counts) if i > 0}


def choose(name: str) -> tuple[str, str]:
    """The renderer to use and one line saying which and why; `auto` prefers EGL."""
    if name not in ("auto", "egl"):
        return name, f"renderer: {name}, as asked for"
    reason = egl_problem()
    if reason is None:
        return "egl", "renderer: egl (OpenGL through EGL is available)"
    if name == "egl":
        raise CooptrackError(f"synthesize: --renderer egl: {reason}; install it with: {EGL_LINE}")
    return "rays", f"renderer: rays, plainer pictures, because {reason}; for better ones: {EGL_LINE}"


def egl_problem() -> str | None:
    """Why EGL cannot be used here, None if it can."""
    try:
        import moderngl
    except ImportError:
        return "the Python package moderngl is missing"
    try:
        context = moderngl.create_context(standalone=True, backend="egl", require=330)  # type: ignore[arg-type]
    except Exception as error:  # moderngl and glcontext raise plain Exception for every missing library
        return f"EGL does not start ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    context.release()
    return None


def create(name: str, scene: Scene) -> Renderer:
    """The renderer of this name for a sequence."""
    if name == "egl":
        from cooptrack_core.data.synthetic.renderer_egl import EglRenderer

        return EglRenderer(scene)
    from cooptrack_core.data.synthetic.renderer_rays import RayRenderer

    return RayRenderer(scene, shaded=name == "rays")


__all__ = ["EGL_LINE", "Picture", "Renderer", "choose", "count_ids", "create", "egl_problem"]
