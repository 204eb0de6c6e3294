// Many thick line segments in one draw call, refilled every frame.
import * as THREE from "three";
import { LineMaterial } from "three/examples/jsm/lines/LineMaterial.js";
import { LineSegments2 } from "three/examples/jsm/lines/LineSegments2.js";
import { LineSegmentsGeometry } from "three/examples/jsm/lines/LineSegmentsGeometry.js";

const color = new THREE.Color();

export class Segments {
  constructor(width, options = {}) {
    this.material = new LineMaterial({ linewidth: width, vertexColors: true, transparent: true, ...options });
    this.object = new LineSegments2(new LineSegmentsGeometry(), this.material);
    this.object.frustumCulled = false;
    this.reserve(256);
    this.begin();
  }

  reserve(capacity) {
    this.capacity = capacity;
    const positions = new Float32Array(capacity * 6);
    const colors = new Float32Array(capacity * 6);
    if (this.positions) {
      positions.set(this.positions);
      colors.set(this.colors);
      this.object.geometry.dispose();
      this.object.geometry = new LineSegmentsGeometry();
    }
    this.positions = positions;
    this.colors = colors;
    this.object.geometry.setPositions(positions);
    this.object.geometry.setColors(colors);
    this.buffers = ["instanceStart", "instanceColorStart"].map((name) => this.object.geometry.attributes[name].data);
  }

  begin() {
    this.count = 0;
  }

  /** Segment between two points [x, y, z], with one colour or one for each end. */
  add(a, b, from, to = from) {
    if (this.count >= this.capacity) this.reserve(this.capacity * 2);
    const k = this.count++ * 6;
    this.positions.set([a[0], a[1], a[2], b[0], b[1], b[2]], k);
    color.set(from).toArray(this.colors, k);
    color.set(to).toArray(this.colors, k + 3);
  }

  /** The same in dashes of a length in metres. */
  dashed(a, b, from, dash = 0.35) {
    const length = Math.hypot(b[0] - a[0], b[1] - a[1], b[2] - a[2]);
    const n = Math.max(1, 2 * Math.round(length / dash / 2) + 1);
    const at = (f) => [0, 1, 2].map((i) => a[i] + (b[i] - a[i]) * f);
    for (let k = 0; k < n; k += 2) this.add(at(k / n), at((k + 1) / n), from);
  }

  end() {
    for (const buffer of this.buffers) buffer.needsUpdate = true;
    this.object.geometry.instanceCount = this.count;
    this.object.visible = this.count > 0;
  }
}
