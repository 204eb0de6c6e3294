"""Everything that does not move: ground, markings, buildings, trees, street furniture."""

from __future__ import annotations

import numpy as np

from cooptrack_core.data.synthetic import layout
from cooptrack_core.data.synthetic.mesh import ASPHALT, FACADE, GRASS, MARKING, Mesh, box, merge, quads


def build(seed: int) -> Mesh:
    """The static world of a seed."""
    rng = np.random.default_rng([seed, 77])
    far = 600.0
    parts = [quads([[(-far, -far, -0.05), (far, -far, -0.05), (far, far, -0.05), (-far, far, -0.05)]], (0.3, 0.4, 0.2), GRASS)]
    k = layout.KERB_V_M
    for x0, x1, y0, y1 in ((-far, far, -k, k), (-k, k, -far, far)):
        parts.append(quads([[(x0, y0, 0), (x1, y0, 0), (x1, y1, 0), (x0, y1, 0)]], (0.3, 0.3, 0.3), ASPHALT))
    for arm in layout.ARMS:
        for v in np.arange(-11.5, 11.6, 1.2):
            a, b = layout.from_arm(arm, 16.6, v), layout.from_arm(arm, 20.6, v + 0.5)
            lo, hi = np.minimum(a, b), np.maximum(a, b)
            parts.append(box((*lo, 0.0), (*hi, 0.015), (0.9, 0.9, 0.9), MARKING))
        for side in (-1, 1):
            u = 26.0
            while u < 200:
                w, d, h = rng.uniform(14, 30), rng.uniform(12, 20), rng.uniform(9, 40)
                a = layout.from_arm(arm, u, side * 26.0)
                b = layout.from_arm(arm, u + w, side * (26.0 + d))
                lo, hi = np.minimum(a, b), np.maximum(a, b)
                if u > 50 or arm in ("north", "south"):
                    parts.append(box((*lo, 0.0), (*hi, h), rng.uniform(0.5, 0.9, 3), FACADE, extra=float(rng.random())))
                u += w + rng.uniform(1, 6)
    return merge(parts)
