// Low-poly bodies and agents. All of unit size (1 x 1 x 1, centred), scaled to their box.
import * as THREE from "three";

function profile(points, bevel = 0.05) {
  const shape = new THREE.Shape(points.map(([x, z]) => new THREE.Vector2(x, z)));
  const depth = 1 - 2 * bevel;
  const geometry = new THREE.ExtrudeGeometry(shape, { depth, bevelEnabled: true, bevelThickness: bevel, bevelSize: 0.02, bevelSegments: 2 });
  geometry.translate(0, 0, -depth / 2);
  geometry.rotateX(Math.PI / 2); // profile in x-z, width along y
  return geometry;
}

function merge(parts) {
  const position = [];
  const normal = [];
  for (const part of parts) {
    const flat = part.index ? part.toNonIndexed() : part;
    position.push(...flat.attributes.position.array);
    normal.push(...flat.attributes.normal.array);
  }
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(position, 3));
  geometry.setAttribute("normal", new THREE.Float32BufferAttribute(normal, 3));
  return geometry;
}

const sedan = [
  [-0.48, -0.36], [0.48, -0.36], [0.48, -0.08], [0.44, 0.04], [0.22, 0.1], [0.06, 0.46], [-0.26, 0.48], [-0.42, 0.14], [-0.48, 0.08],
];
const van = [[-0.48, -0.38], [0.48, -0.38], [0.48, -0.1], [0.36, 0.06], [0.28, 0.44], [0.22, 0.48], [-0.48, 0.48]];

/** Windows: a side profile a little wider than the body, and panes [x, z, tilt, length] in front and behind. */
function windows(side, panes) {
  const shape = new THREE.Shape(side.map(([x, z]) => new THREE.Vector2(x, z)));
  const geometry = new THREE.ExtrudeGeometry(shape, { depth: 1.006, bevelEnabled: false });
  geometry.translate(0, 0, -0.503).rotateX(Math.PI / 2);
  return merge([geometry, ...panes.map(([x, z, tilt, length]) => new THREE.BoxGeometry(length, 0.82, 0.014).rotateY(tilt).translate(x, 0, z))]);
}

function wheels(radius) {
  return [[0.31, 0.42], [0.31, -0.42], [-0.31, 0.42], [-0.31, -0.42]].map(([x, y]) => {
    const wheel = new THREE.CylinderGeometry(radius, radius, 0.12, 14);
    wheel.scale(0.36, 1, 1); // round after scaling to a car's length and height
    wheel.translate(x, y, -0.5 + radius);
    return wheel;
  });
}

function person() {
  const body = new THREE.CapsuleGeometry(0.3, 0.36, 4, 10).rotateX(Math.PI / 2).scale(1, 1, 0.75).translate(0, 0, -0.12);
  const head = new THREE.SphereGeometry(0.2, 12, 8).scale(1.1, 1.1, 0.6).translate(0, 0, 0.37);
  return merge([body, head]);
}

function bicycle() {
  const wheel = (x) => new THREE.TorusGeometry(0.19, 0.025, 6, 18).rotateX(Math.PI / 2).scale(1, 2, 1.05).translate(x, 0, -0.29);
  const frame = new THREE.BoxGeometry(0.56, 0.1, 0.05).translate(0, 0, -0.16);
  const rider = new THREE.CapsuleGeometry(0.13, 0.3, 4, 10).rotateX(Math.PI / 2).scale(1, 2.6, 0.9).translate(-0.03, 0, 0.1);
  const head = new THREE.SphereGeometry(0.075, 10, 8).scale(1, 2.6, 1).translate(0.02, 0, 0.41);
  return merge([wheel(0.3), wheel(-0.3), frame, rider, head]);
}

const geometries = {
  car: merge([profile(sedan), ...wheels(0.2)]),
  van: merge([profile(van), ...wheels(0.15)]),
  bicycle: bicycle(),
  pedestrian: person(),
  traffic_cone: new THREE.ConeGeometry(0.45, 1, 14).rotateX(Math.PI / 2),
};

/** Body geometry for a box of a class; large cars get a van. */
export function bodyOf(box) {
  if (box.cls === "car" && (box.s[0] > 6 || box.s[2] > 2.1)) return geometries.van;
  return geometries[box.cls] || geometries.car;
}

const glasses = new Map([
  [geometries.car, windows([[0.2, 0.12], [0.05, 0.42], [-0.25, 0.44], [-0.39, 0.15]], [[0.157, 0.29, 1.145, 0.3], [-0.352, 0.32, -1.13, 0.26]])],
  [geometries.van, windows([[0.33, 0.08], [0.25, 0.4], [0.08, 0.4], [0.08, 0.08]], [[0.336, 0.25, 1.36, 0.3]])],
]);
const dark = new THREE.MeshStandardMaterial({ color: "#111b26", roughness: 0.2, metalness: 0.4, transparent: true });

/** Dark windows that go with a body, or null. */
export function glassOf(box) {
  const geometry = glasses.get(bodyOf(box));
  return geometry ? new THREE.Mesh(geometry, dark.clone()) : null;
}

/** The vehicle that runs the tracker. */
export function makeVehicle(color) {
  const group = new THREE.Group();
  const paint = new THREE.MeshStandardMaterial({ color, roughness: 0.35, metalness: 0.3, emissive: color, emissiveIntensity: 0.18 });
  const body = new THREE.Mesh(geometries.car, paint);
  body.scale.set(4.6, 1.9, 1.55);
  const glass = new THREE.Mesh(glasses.get(geometries.car), dark);
  glass.scale.copy(body.scale);
  const sensor = new THREE.Mesh(
    new THREE.CylinderGeometry(0.16, 0.18, 0.2, 18).rotateX(Math.PI / 2),
    new THREE.MeshStandardMaterial({ color: "#d8dee6", roughness: 0.4 }),
  );
  sensor.position.set(-0.25, 0, 0.86);
  group.add(body, glass, sensor);
  return group;
}

/** Mast of a roadside unit with its camera at `height` above the ground. */
export function makeMast(color, height) {
  const group = new THREE.Group();
  const metal = new THREE.MeshStandardMaterial({ color: "#9aa7b5", roughness: 0.5, metalness: 0.5 });
  const glow = new THREE.MeshStandardMaterial({ color, emissive: color, emissiveIntensity: 0.6, roughness: 0.4 });
  const pole = new THREE.Mesh(new THREE.CylinderGeometry(0.09, 0.14, height, 12).rotateX(Math.PI / 2), metal);
  pole.position.z = height / 2;
  const base = new THREE.Mesh(new THREE.CylinderGeometry(0.5, 0.6, 0.25, 20).rotateX(Math.PI / 2), metal);
  base.position.z = 0.125;
  const head = new THREE.Mesh(new THREE.BoxGeometry(0.6, 0.42, 0.42), glow);
  head.position.z = height;
  group.add(pole, base, head);
  return group;
}
