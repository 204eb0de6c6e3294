// Everything in the 3D view that changes with the frame: boxes, bodies, trails, arrows, lines, markers.
import * as THREE from "three";
import { nearestTruth, palette, placesOf, recording, speedOf, trackColor, trail } from "./data.js";
import { EDGES, corners, groundView } from "./geometry.js";
import { bodyOf, glassOf } from "./models.js";
import { Segments } from "./segments.js";
import { isActive, isFaint, shown, state } from "./state.js";

const VIEW_RANGE_M = 75;
const GROUND = 0.06; // above the road, so that lines on it do not flicker

const mixed = (a, b, f) => `#${new THREE.Color(a).lerp(new THREE.Color(b), f).getHexString()}`;

export class Tracks {
  constructor(scene) {
    this.scene = scene;
    this.bodies = new Map(); // track id -> {group, fill, solid}
    this.thin = new Segments(1.4);
    this.thick = new Segments(2.4);
    this.bold = new Segments(3.6);
    this.top = new Segments(3.2, { depthTest: false });
    this.top.object.renderOrder = 5;
    for (const batch of [this.thin, this.thick, this.bold, this.top]) scene.add(batch.object);
    const box = new THREE.BoxGeometry(1, 1, 1);
    this.box = box;
    this.markers = {
      ego: this.makeMarkers(new THREE.BoxGeometry(0.62, 0.62, 0.62), palette.ego),
      remote: this.makeMarkers(new THREE.OctahedronGeometry(0.55), palette.remote),
      pairEgo: this.makeMarkers(new THREE.SphereGeometry(0.2, 12, 8), palette.ego),
      pairRemote: this.makeMarkers(new THREE.SphereGeometry(0.2, 12, 8), palette.remote),
    };
    this.views = {};
    for (const agent of Object.keys(recording.cameras)) {
      const color = agent === recording.vehicle ? palette.ego : palette.remote;
      const material = new THREE.MeshBasicMaterial({ color, transparent: true, opacity: 0.07, depthWrite: false, side: THREE.DoubleSide });
      this.views[agent] = new THREE.Mesh(new THREE.BufferGeometry(), material);
      this.views[agent].frustumCulled = false;
      scene.add(this.views[agent]);
    }
  }

  makeMarkers(geometry, color) {
    const material = new THREE.MeshBasicMaterial({ color, depthTest: false, transparent: true, opacity: 0.95 });
    const mesh = new THREE.InstancedMesh(geometry, material, 512);
    mesh.renderOrder = 6;
    mesh.frustumCulled = false;
    mesh.count = 0;
    this.scene.add(mesh);
    return mesh;
  }

  placeMarkers(mesh, points) {
    const M = new THREE.Matrix4();
    const at = new THREE.Vector3();
    mesh.count = Math.min(points.length, 512);
    for (let k = 0; k < mesh.count; k++) {
      // Nearly the same size on the screen at every distance.
      const size = Math.min(Math.max(at.set(...points[k]).distanceTo(this.eye) / 90, 0.18), 1.6);
      mesh.setMatrixAt(k, M.makeScale(size, size, size).setPosition(at));
    }
    mesh.instanceMatrix.needsUpdate = true;
  }

  /** Fills all batches from a frame; eye: position of the view's camera. */
  draw(frame, eye) {
    const { layers } = state;
    this.eye = eye;
    for (const batch of [this.thin, this.thick, this.bold, this.top]) batch.begin();
    const live = new Set();
    for (const track of shown(frame.tracks)) {
      if (isFaint(track)) {
        this.edges(this.thin, track, mixed(palette.background, trackColor(track.id), 0.45));
        continue;
      }
      live.add(track.id);
      this.drawTrack(frame, track);
    }
    for (const [id, parts] of this.bodies) parts.group.visible = live.has(id);
    if (layers.truth) for (const item of frame.truth) this.edges(this.thin, item, palette.truth);
    this.drawAssociations(frame);
    this.drawAgents(frame);
    this.drawSelection(frame);
    for (const batch of [this.thin, this.thick, this.bold, this.top]) batch.end();
  }

  edges(batch, box, color, dash = 0) {
    const c = corners(box);
    for (const [i, j] of EDGES) {
      if (dash) batch.dashed(c[i], c[j], color, dash);
      else batch.add(c[i], c[j], color);
    }
  }

  drawTrack(frame, track) {
    const { layers } = state;
    const color = trackColor(track.id);
    const active = isActive(track);
    const predicted = track.seen === "predicted";
    const unseen = predicted || track.seen === "remote";
    const batch = active ? this.bold : this.thick;
    this.edges(batch, track, active ? mixed(color, "#ffffff", 0.35) : color, unseen ? (track.s[0] > 2 ? 0.35 : 0.2) : 0);
    const parts = this.bodies.get(track.id) || this.makeBody(track);
    parts.group.position.set(...track.c);
    parts.group.rotation.z = track.h;
    parts.group.scale.set(...track.s);
    parts.group.userData.track = track.id;
    parts.fill.material.opacity = (predicted ? 0.05 : 0.13) + (active ? 0.14 : 0);
    for (const mesh of parts.solid) {
      mesh.visible = layers.models;
      mesh.material.opacity = predicted ? 0.25 : track.hidden ? 0.5 : 0.95;
      mesh.material.depthWrite = !predicted && !track.hidden;
    }
    if (track.hidden) this.ring(track, palette.remote);
    if (layers.trails) this.drawTrail(frame, track, color);
    if (layers.arrows && speedOf(track) > 0.4) this.arrow(track, mixed(color, "#ffffff", 0.3));
  }

  makeBody(track) {
    const color = trackColor(track.id);
    const group = new THREE.Group();
    const fill = new THREE.Mesh(this.box, new THREE.MeshBasicMaterial({ color, transparent: true, depthWrite: false }));
    const paint = new THREE.MeshStandardMaterial({ color: mixed(color, "#39434f", 0.35), roughness: 0.55, metalness: 0.1, transparent: true });
    const body = new THREE.Mesh(bodyOf(track), paint);
    const solid = [body, glassOf(track)].filter(Boolean);
    group.add(fill, ...solid);
    this.scene.add(group);
    const parts = { group, fill, solid };
    this.bodies.set(track.id, parts);
    return parts;
  }

  /** Green outline on the road around a track that only the roadside knows. */
  ring(track, color) {
    const c = corners(track, 0.45).slice(0, 4).map((p) => [p[0], p[1], GROUND]);
    for (let k = 0; k < 4; k++) this.bold.add(c[k], c[(k + 1) % 4], color);
  }

  drawTrail(frame, track, color) {
    const points = trail(track.id, frame.index);
    points.push(track.c);
    for (let k = 1; k < points.length; k++) {
      const tint = (f) => mixed(palette.background, color, 0.1 + 0.75 * f);
      const [a, b] = [points[k - 1], points[k]].map((p) => [p[0], p[1], GROUND]);
      if (a[0] !== b[0] || a[1] !== b[1]) this.thick.add(a, b, tint((k - 1) / points.length), tint(k / points.length));
    }
  }

  /** Way of the next second, on the road. */
  arrow(track, color) {
    const speed = speedOf(track);
    const start = [track.c[0], track.c[1], GROUND];
    const tip = [start[0] + track.v[0], start[1] + track.v[1], GROUND];
    const [ux, uy] = [track.v[0] / speed, track.v[1] / speed];
    const head = Math.min(0.9, speed * 0.4);
    this.thick.add(start, tip, color);
    for (const side of [1, -1]) {
      const back = [tip[0] - head * (ux + side * 0.5 * -uy), tip[1] - head * (uy + side * 0.5 * ux), GROUND];
      this.thick.add(tip, back, color);
    }
  }

  drawAssociations(frame) {
    const { layers } = state;
    const pairs = layers.pairs ? frame.pairs : [];
    for (const [ego, remote] of pairs) this.top.add(ego, remote, palette.pair);
    this.placeMarkers(this.markers.pairEgo, pairs.map((pair) => pair[0]));
    this.placeMarkers(this.markers.pairRemote, pairs.map((pair) => pair[1]));
    this.placeMarkers(this.markers.ego, layers.unmatched ? frame.unmatched_ego.map((row) => row[0]) : []);
    this.placeMarkers(this.markers.remote, layers.unmatched ? frame.unmatched_remote.map((row) => row[0]) : []);
  }

  drawAgents(frame) {
    const ego = [frame.ego[3], frame.ego[7], 1.6];
    const used = new Set(frame.messages.map((message) => message.agent));
    for (const [agent, position] of Object.entries(placesOf(frame))) {
      if (used.has(agent)) this.thin.dashed(position, ego, mixed(palette.background, palette.remote, 0.65), 0.8);
    }
    for (const [agent, mesh] of Object.entries(this.views)) {
      const row = frame.cameras[agent];
      mesh.visible = Boolean(row) && state.layers.views;
      if (mesh.visible) this.drawView(mesh, agent, row);
    }
  }

  drawView(mesh, agent, row) {
    const camera = recording.cameras[agent];
    const outline = groundView(camera, row.T, VIEW_RANGE_M).map(([x, y]) => [x, y, GROUND * 0.6]);
    const flat = [];
    for (let k = 1; k + 1 < outline.length; k++) flat.push(...outline[0], ...outline[k], ...outline[k + 1]);
    mesh.geometry.setAttribute("position", new THREE.Float32BufferAttribute(flat, 3));
    const color = mixed(palette.background, agent === recording.vehicle ? palette.ego : palette.remote, 0.6);
    for (let k = 0; k < outline.length; k++) this.thin.add(outline[k], outline[(k + 1) % outline.length], color);
  }

  /** Lines from the agents that measure the selected or hovered track to it. */
  drawSelection(frame) {
    const track = frame.tracks.find((item) => item.id === (state.hovered ?? state.selected));
    if (!track) return;
    const ego = [frame.ego[3], frame.ego[7], 1.7];
    if (track.seen === "ego" || track.seen === "both") this.thick.dashed(ego, track.c, palette.ego, 0.7);
    for (const agent of track.agents) {
      const place = placesOf(frame)[agent];
      if (place) this.thick.dashed(place, track.c, palette.remote, 0.7);
    }
    const truth = nearestTruth(frame, track);
    if (truth) this.edges(this.thin, truth.item, palette.truth);
  }

  /** Meshes that a click can hit. */
  targets() {
    return [...this.bodies.values()].filter((parts) => parts.group.visible).map((parts) => parts.fill);
  }
}
