// The 3D view: renderer, ground, agents, cameras of the view, picking.
import * as THREE from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { frames, palette, recording } from "./data.js";
import { inverse } from "./geometry.js";
import { makeMast, makeVehicle } from "./models.js";
import { state } from "./state.js";
import { Tracks } from "./tracks.js";

const FOV_DEG = 46;
const FLIGHT_MS = 650;
const EGO_LIFT_M = 0.82;

export class World {
  constructor(canvas) {
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, powerPreference: "high-performance" });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio || 1, 2));
    this.scene = new THREE.Scene();
    this.scene.background = new THREE.Color(palette.background);
    this.scene.fog = new THREE.Fog(palette.background, 160, 420);
    this.camera = new THREE.PerspectiveCamera(FOV_DEG, 1, 0.3, 1500);
    this.camera.up.set(0, 0, 1);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = true;
    this.controls.dampingFactor = 0.12;
    this.controls.maxPolarAngle = Math.PI / 2 - 0.02;
    this.controls.minDistance = 3;
    this.controls.maxDistance = 400;
    this.controls.addEventListener("start", () => (this.flight = null));
    this.addLights();
    this.addGround();
    this.addAgents();
    this.tracks = new Tracks(this.scene);
    this.raycaster = new THREE.Raycaster();
    this.anchor = null; // pose that a following view was last aligned with
  }

  addLights() {
    this.scene.add(new THREE.HemisphereLight("#dfe9f5", "#1b2430", 2.1));
    const sun = new THREE.DirectionalLight("#ffffff", 1.7);
    sun.position.set(-40, -60, 90);
    this.scene.add(sun);
  }

  addGround() {
    const [x0, y0, x1, y1] = recording.bounds;
    this.center = [(x0 + x1) / 2, (y0 + y1) / 2];
    this.span = Math.max(x1 - x0, y1 - y0);
    const middle = frames[Math.floor(frames.length / 2)];
    this.heading = middle ? Math.atan2(middle.ego[4], middle.ego[0]) : Math.PI / 2;
    const step = 10;
    const reach = Math.ceil((this.span * 1.6) / step) * step;
    const grid = new THREE.GridHelper(reach * 2, (reach * 2) / step, palette.line, palette.line);
    grid.rotation.x = Math.PI / 2;
    grid.position.set(Math.round(this.center[0] / step) * step, Math.round(this.center[1] / step) * step, 0.015);
    grid.material.transparent = true;
    grid.material.opacity = 0.5;
    grid.material.depthWrite = false;
    this.scene.add(grid);
    if (!recording.ground) return;
    const [gx0, gy0, gx1, gy1] = recording.ground.bounds;
    const texture = new THREE.TextureLoader().load(`data:image/jpeg;base64,${recording.ground.image}`, () => this.onready?.());
    texture.colorSpace = THREE.SRGBColorSpace;
    texture.anisotropy = this.renderer.capabilities.getMaxAnisotropy();
    this.road = new THREE.Mesh(new THREE.PlaneGeometry(gx1 - gx0, gy1 - gy0), new THREE.MeshBasicMaterial({ map: texture }));
    this.road.position.set((gx0 + gx1) / 2, (gy0 + gy1) / 2, 0);
    this.scene.add(this.road);
  }

  addAgents() {
    this.vehicle = makeVehicle(palette.ego);
    this.vehicle.matrixAutoUpdate = false;
    this.scene.add(this.vehicle);
    this.vehicle.visible = frames.length > 0;
    if (!frames.length) return;
    for (const position of Object.values(recording.positions)) {
      const mast = makeMast(palette.remote, Math.max(position[2], 1));
      mast.position.set(position[0], position[1], 0);
      this.scene.add(mast);
    }
    this.others = new Map();
    for (const agent of new Set(frames.flatMap((frame) => Object.keys(frame.positions || {})))) {
      const other = makeVehicle(palette.remote);
      other.matrixAutoUpdate = false;
      this.scene.add(other);
      this.others.set(agent, other);
    }
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.renderer.domElement.parentElement;
    if (!width || !height) return;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
  }

  /** Draws a frame; returns whether the view itself is still moving. */
  draw(frame, now) {
    if (frame) {
      this.placeVehicle(frame);
      this.follow(frame);
      this.tracks.draw(frame, this.camera.position);
    }
    if (this.road) this.road.visible = state.layers.road;
    const flying = this.fly(now);
    const moved = this.controls.update();
    this.renderer.render(this.scene, this.camera);
    return flying || moved;
  }

  placeVehicle(frame) {
    const yaw = Math.atan2(frame.ego[4], frame.ego[0]);
    this.vehicle.matrix.makeRotationZ(yaw).setPosition(frame.ego[3], frame.ego[7], EGO_LIFT_M);
    for (const [agent, other] of this.others) {
      const place = frame.positions[agent];
      other.visible = Boolean(place);
      if (place) other.matrix.makeRotationZ(place[3]).setPosition(place[0], place[1], EGO_LIFT_M);
    }
  }

  /** What a view looks at: {position, target}, and a pose {x, y, yaw} to move along with. */
  viewpoint(name, frame) {
    const [x, y] = this.center;
    const yaw = frame ? Math.atan2(frame.ego[4], frame.ego[0]) : Math.PI / 2;
    const room = this.span / Math.min(this.camera.aspect, 1.35);
    const behind = (p, heading, back, up, ahead) => ({
      position: [p[0] - Math.cos(heading) * back, p[1] - Math.sin(heading) * back, up],
      target: [p[0] + Math.cos(heading) * ahead, p[1] + Math.sin(heading) * ahead, 0.5],
    });
    const agent = Object.keys(recording.positions)[0];
    if (name === "top") return { position: [x, y - 0.01, room * 1.28], target: [x, y, 0] };
    if (name === "follow" && frame) return behind([frame.ego[3], frame.ego[7]], yaw, 17, 9.5, 13);
    if (name === "track" && frame) {
      const track = frame.tracks.find((item) => item.id === state.selected);
      if (track) return behind(track.c, track.h, 13, 8, 5);
    }
    if (name === "roadside" && frame && agent && frame.cameras[agent]) {
      const T = inverse(frame.cameras[agent].T);
      const p = recording.positions[agent];
      const flat = Math.hypot(T[2], T[6]) || 1;
      const d = [T[2] / flat, T[6] / flat];
      return { position: [p[0] - d[0] * 4, p[1] - d[1] * 4, p[2] + 2.5], target: [p[0] + d[0] * 22, p[1] + d[1] * 22, 0] };
    }
    // From behind the vehicle's way and somewhat beside it, so that it drives into the picture.
    const azimuth = this.heading + 0.45;
    const [dx, dy] = [Math.cos(azimuth), Math.sin(azimuth)];
    const d = room * 0.84;
    const shift = this.span * 0.04;
    return { position: [x - d * dx, y - d * dy, room * 0.62], target: [x - shift * dx, y - shift * dy, 0] };
  }

  /** Goes to a view, in a short flight or at once. */
  goTo(name, frame, at_once = false) {
    const { position, target } = this.viewpoint(name, frame);
    const to = { position: new THREE.Vector3(...position), target: new THREE.Vector3(...target) };
    this.anchor = this.pose(name, frame);
    if (at_once) {
      this.flight = null;
      this.camera.position.copy(to.position);
      this.controls.target.copy(to.target);
      return;
    }
    this.flight = { ...to, start: performance.now(), from: this.camera.position.clone(), fromTarget: this.controls.target.clone() };
  }

  fly(now) {
    if (!this.flight) return false;
    const f = Math.min((now - this.flight.start) / FLIGHT_MS, 1);
    const eased = f * f * (3 - 2 * f);
    this.camera.position.lerpVectors(this.flight.from, this.flight.position, eased);
    this.controls.target.lerpVectors(this.flight.fromTarget, this.flight.target, eased);
    if (f >= 1) this.flight = null;
    return true;
  }

  pose(name, frame) {
    if (!frame) return null;
    if (name === "follow") return { x: frame.ego[3], y: frame.ego[7], yaw: Math.atan2(frame.ego[4], frame.ego[0]) };
    const track = name === "track" && frame.tracks.find((item) => item.id === state.selected);
    return track ? { x: track.c[0], y: track.c[1], yaw: track.h } : null;
  }

  /** Moves the view with what it follows, keeping the user's own angle and distance. */
  follow(frame) {
    const pose = this.pose(state.view, frame);
    const last = this.anchor;
    if (pose && last) {
      const turn = Math.atan2(Math.sin(pose.yaw - last.yaw), Math.cos(pose.yaw - last.yaw));
      const axis = new THREE.Vector3(0, 0, 1);
      const vectors = [this.camera.position, this.controls.target];
      if (this.flight) vectors.push(this.flight.position, this.flight.target);
      for (const v of vectors) {
        v.sub(new THREE.Vector3(last.x, last.y, 0)).applyAxisAngle(axis, Math.abs(turn) < 0.6 ? turn : 0);
        v.add(new THREE.Vector3(pose.x, pose.y, 0));
      }
    }
    if (pose) this.anchor = pose;
  }

  /** Track id under a point of the canvas, or null. */
  pick(clientX, clientY) {
    const rect = this.renderer.domElement.getBoundingClientRect();
    const point = new THREE.Vector2(((clientX - rect.left) / rect.width) * 2 - 1, 1 - ((clientY - rect.top) / rect.height) * 2);
    this.raycaster.setFromCamera(point, this.camera);
    const hit = this.raycaster.intersectObjects(this.tracks.targets(), false)[0];
    return hit ? hit.object.parent.userData.track : null;
  }

  /** [x, y, depth 0..1] of a world point in CSS pixels, or null behind the camera. */
  toScreen(point) {
    const v = new THREE.Vector3(...point).project(this.camera);
    if (v.z > 1 || v.z < -1) return null;
    const { clientWidth: width, clientHeight: height } = this.renderer.domElement;
    return [((v.x + 1) / 2) * width, ((1 - v.y) / 2) * height, v.z];
  }

  distanceTo(point) {
    return this.camera.position.distanceTo(new THREE.Vector3(...point));
  }
}
