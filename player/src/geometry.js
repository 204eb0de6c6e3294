// Pure geometry of boxes and cameras; no drawing. World frame: z up, ground at z = 0, metres.

export const EDGES = [
  [0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7],
];
export const FRONT = [0, 1, 5, 4];
const UNIT = [
  [1, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, 1, -1], [1, 1, 1], [1, -1, 1], [-1, -1, 1], [-1, 1, 1],
];
const NEAR_M = 0.5;

/** Eight corners of a box {c, s, h}, in the order of the Python side (geometry/boxes.py). */
export function corners(box, grow = 0) {
  const cos = Math.cos(box.h);
  const sin = Math.sin(box.h);
  const [l, w, h] = box.s.map((v) => v / 2 + grow);
  return UNIT.map(([a, b, c]) => {
    const x = a * l;
    const y = b * w;
    return [box.c[0] + cos * x - sin * y, box.c[1] + sin * x + cos * y, box.c[2] + c * h];
  });
}

/** Angle half way (and any fraction) between two, the short way round. */
export function lerpAngle(a, b, f) {
  const d = ((((b - a + Math.PI) % (2 * Math.PI)) + 2 * Math.PI) % (2 * Math.PI)) - Math.PI;
  return a + d * f;
}

export const lerp = (a, b, f) => a + (b - a) * f;

/** Point through a row-major 4x4 matrix. */
export function transform(T, p) {
  return [
    T[0] * p[0] + T[1] * p[1] + T[2] * p[2] + T[3],
    T[4] * p[0] + T[5] * p[1] + T[6] * p[2] + T[7],
    T[8] * p[0] + T[9] * p[1] + T[10] * p[2] + T[11],
  ];
}

/** Inverse of a row-major affine 4x4 matrix (any invertible linear part). */
export function inverse(T) {
  const [a, b, c, x, d, e, f, y, g, h, i, z] = T;
  const A = e * i - f * h;
  const B = f * g - d * i;
  const C = d * h - e * g;
  const det = a * A + b * B + c * C;
  const R = [
    A, c * h - b * i, b * f - c * e,
    B, a * i - c * g, c * d - a * f,
    C, b * g - a * h, a * e - b * d,
  ].map((v) => v / det);
  const t = [0, 3, 6].map((r) => -(R[r] * x + R[r + 1] * y + R[r + 2] * z));
  return [R[0], R[1], R[2], t[0], R[3], R[4], R[5], t[1], R[6], R[7], R[8], t[2], 0, 0, 0, 1];
}

/** Pixel of a point in front of the camera; K = [fx, skew, cx, fy, cy]. */
export function pixel(K, p) {
  return [(K[0] * p[0] + K[1] * p[1]) / p[2] + K[2], (K[3] * p[1]) / p[2] + K[4]];
}

function clipNear(a, b) {
  if (a[2] < NEAR_M && b[2] < NEAR_M) return null;
  const cut = (p, q) => q.map((v, k) => v + ((p[k] - v) * (q[2] - NEAR_M)) / (q[2] - p[2]));
  if (a[2] < NEAR_M) return [cut(a, b), b];
  if (b[2] < NEAR_M) return [a, cut(b, a)];
  return [a, b];
}

/** Part of a 2D segment inside 0..width x 0..height (Liang-Barsky), or null. */
export function clipImage([a, b], width, height) {
  let low = 0;
  let high = 1;
  const d = [b[0] - a[0], b[1] - a[1]];
  for (const [axis, sign, bound] of [[0, -1, 0], [0, 1, width], [1, -1, 0], [1, 1, height]]) {
    const slope = sign * d[axis];
    const room = sign * (bound - a[axis]);
    if (Math.abs(slope) < 1e-12) {
      if (room < 0) return null;
    } else if (slope < 0) low = Math.max(low, room / slope);
    else high = Math.min(high, room / slope);
  }
  if (low >= high) return null;
  return [low, high].map((f) => [a[0] + d[0] * f, a[1] + d[1] * f]);
}

/** A box as a camera sees it, `seconds` after its frame: {segments, corners, anchor, distance}, or null. */
export function projectBox(camera, T, box, seconds) {
  const moved = { ...box, c: [box.c[0] + box.v[0] * seconds, box.c[1] + box.v[1] * seconds, box.c[2]] };
  const points = corners(moved).map((p) => transform(T, p));
  const segments = [];
  for (const [i, j] of EDGES) {
    const part = clipNear(points[i], points[j]);
    const inside = part && clipImage(part.map((p) => pixel(camera.K, p)), camera.width, camera.height);
    if (inside) segments.push(inside);
  }
  if (!segments.length) return null;
  const whole = points.every((p) => p[2] > NEAR_M);
  const pixels = whole ? points.map((p) => pixel(camera.K, p)) : null;
  let anchor = segments.flat().reduce((best, p) => (p[1] < best[1] ? p : best));
  if (pixels) anchor = [0, 1].map((k) => (pixels[4][k] + pixels[5][k] + pixels[6][k] + pixels[7][k]) / 4);
  anchor = [Math.min(Math.max(anchor[0], 0), camera.width), Math.min(Math.max(anchor[1], 0), camera.height)];
  const center = transform(T, moved.c);
  return { box, segments, corners: pixels, anchor, distance: Math.hypot(...center) };
}

/** Outline on the ground of what a camera sees, cut at a range: list of [x, y]. */
export function groundView(camera, T, range) {
  const back = inverse(T);
  const origin = [back[3], back[7], back[11]];
  const n = 12;
  const rim = [];
  const { width: w, height: h } = camera;
  for (let k = 0; k <= n; k++) rim.push([0, h * (1 - k / n)]);
  for (let k = 0; k <= n; k++) rim.push([(w * k) / n, 0]);
  for (let k = 0; k <= n; k++) rim.push([w, (h * k) / n]);
  for (let k = 0; k <= n; k++) rim.push([w * (1 - k / n), h]);
  return rim.map(([u, v]) => {
    const y = (v - camera.K[4]) / camera.K[3];
    const ray = [(u - camera.K[2] - camera.K[1] * y) / camera.K[0], y, 1];
    const d = [0, 4, 8].map((r) => back[r] * ray[0] + back[r + 1] * ray[1] + back[r + 2] * ray[2]);
    const flat = Math.max(Math.hypot(d[0], d[1]), 1e-9);
    const reach = Math.min((-origin[2] / Math.min(d[2], -1e-9)) * flat, range);
    return [origin[0] + (d[0] / flat) * reach, origin[1] + (d[1] / flat) * reach];
  });
}

/** Puts rectangles {x, y, w, h} near their anchors, clear of each other and of `others`, upwards first, all within
 * left..left+width and 0..height. Returns them. */
export function placeLabels(labels, width, height, others = [], left = 0) {
  const placed = [];
  for (const label of labels) {
    let best = null;
    for (const [dx, dy] of [[0, 0], [0, -1.1], [0.7, -0.6], [-0.7, -0.6], [0, -2.2], [0.9, 0.4], [-0.9, 0.4], [0, -3.3]]) {
      const x = Math.min(Math.max(label.x + dx * label.w, left + 2), left + width - label.w - 2);
      const y = Math.min(Math.max(label.y + dy * label.h, 2), height - label.h - 2);
      let cost = 0.02 * (Math.abs(dx) + Math.abs(dy)) * label.w * label.h;
      for (const o of [...others, ...placed]) {
        const ox = Math.min(x + label.w, o.x + o.w) - Math.max(x, o.x);
        const oy = Math.min(y + label.h, o.y + o.h) - Math.max(y, o.y);
        if (ox > 0 && oy > 0) cost += 3 * ox * oy;
      }
      if (!best || cost < best.cost) best = { ...label, x, y, cost };
      if (cost <= 0.1 * label.w * label.h) break;
    }
    placed.push(best);
  }
  return placed;
}
