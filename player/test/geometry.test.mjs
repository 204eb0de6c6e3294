import assert from "node:assert/strict";
import { test } from "node:test";
import { clipImage, corners, groundView, inverse, lerpAngle, placeLabels, projectBox, transform } from "../src/geometry.js";

// Camera at the origin, 2 m above the ground, looking along +x: right = -y, down = -z.
const T = [0, -1, 0, 0, 0, 0, -1, 2, 1, 0, 0, 0, 0, 0, 0, 1];
const camera = { K: [1000, 0, 480, 1000, 270], width: 960, height: 540 };
const box = (c, s = [2, 2, 2]) => ({ c, s, h: 0, v: [0, 0] });

test("a box ahead is projected where the pinhole model says", () => {
  const outline = projectBox(camera, T, box([21, 0, 2]), 0);
  assert.equal(outline.segments.length, 12);
  // Rear face at x = 20: half width 1 m -> 50 px.
  assert.deepEqual(outline.corners[2].map(Math.round), [530, 320]);
});

test("a box behind the camera is not drawn", () => assert.equal(projectBox(camera, T, box([-21, 0, 2]), 0), null));

test("a box beside the image is not drawn", () => assert.equal(projectBox(camera, T, box([10, 30, 2]), 0), null));

test("a box through the near plane is clipped to the image", () => {
  const outline = projectBox(camera, T, box([1, 0, 1.5], [6, 2, 1.5]), 0);
  for (const p of outline.segments.flat()) assert.ok(p[0] >= -1e-6 && p[0] <= 960.001 && p[1] >= -1e-6 && p[1] <= 540.001);
});

test("a moving box is drawn where it is when the image is taken", () => {
  const moving = { ...box([21, 0, 2]), v: [0, 10] };
  assert.ok(projectBox(camera, T, moving, 0.1).anchor[0] < projectBox(camera, T, moving, 0).anchor[0]);
});

test("inverse undoes a transform", () => {
  const p = transform(inverse(T), transform(T, [3, -4, 5]));
  p.forEach((v, k) => assert.ok(Math.abs(v - [3, -4, 5][k]) < 1e-9));
});

test("angles meet the short way round", () => assert.ok(Math.abs(Math.abs(lerpAngle(3.1, -3.1, 0.5)) - Math.PI) < 1e-9));

test("segments outside the image vanish", () => assert.equal(clipImage([[-5, -5], [-1, 3]], 10, 10), null));

test("front corners lie ahead of the centre", () => {
  const c = corners({ c: [0, 0, 0], s: [4, 2, 1], h: Math.PI / 2 });
  assert.ok(c[0][1] > 1.9 && c[1][1] > 1.9 && c[2][1] < -1.9);
});

test("the view on the ground ends at the range", () => {
  for (const p of groundView(camera, T, 50)) assert.ok(Math.hypot(...p) <= 50.001);
});

test("labels of one place do not cover each other", () => {
  const out = placeLabels([0, 1, 2].map(() => ({ x: 50, y: 50, w: 20, h: 10 })), 200, 200);
  for (let i = 0; i < 3; i++) for (let j = 0; j < i; j++) {
    assert.ok(Math.abs(out[i].x - out[j].x) >= 13 || Math.abs(out[i].y - out[j].y) >= 9);
  }
});
