// Camera images with the tracked boxes projected into them.
import { images, palette, recording, trackColor } from "./data.js";
import { FONT, drawPill, h, icon, prepare, signed } from "./dom.js";
import { FRONT, placeLabels, projectBox } from "./geometry.js";
import { isActive, isFaint, shown, state, update } from "./state.js";

const cache = new Map();

/** Image of a row of the embedded list; calls back when it has been decoded. */
function load(index, ready) {
  if (!cache.has(index)) {
    const image = new Image();
    image.onload = ready;
    image.src = `data:image/jpeg;base64,${images[index]}`;
    cache.set(index, image);
  }
  return cache.get(index);
}

export class CameraPanel {
  constructor(agent, redraw) {
    this.agent = agent;
    this.redraw = redraw;
    this.canvas = h("canvas");
    this.note = h("span", { class: "note" });
    this.button = h("button", { class: "icon", title: "Enlarge or restore", "aria-label": `Enlarge the ${agent} camera` }, icon("enlarge"));
    this.button.addEventListener("click", () => update({ expanded: state.expanded === agent ? null : agent }));
    this.caption = h("figcaption", {}, h("b", {}, `${agent} camera`), this.note);
    this.element = h("figure", { class: "camera", style: `--agent:${agent === recording.vehicle ? palette.ego : palette.remote}` }, this.canvas, this.caption, this.button);
    const camera = recording.cameras[agent];
    this.element.style.setProperty("--ratio", camera ? camera.width / camera.height : 16 / 9);
    this.canvas.addEventListener("mousemove", (event) => update({ hovered: this.pick(event) }));
    this.canvas.addEventListener("mouseleave", () => update({ hovered: null }));
    this.canvas.addEventListener("click", (event) => update({ selected: this.pick(event) }));
    this.canvas.addEventListener("dblclick", () => this.button.click());
    this.outlines = [];
  }

  draw(frame, prefetch) {
    const { context, width, height } = prepare(this.canvas);
    const row = frame?.cameras[this.agent];
    const picture = row && row.image !== null ? load(row.image, this.redraw) : null;
    for (const next of prefetch) if (next?.cameras[this.agent]?.image != null) load(next.cameras[this.agent].image, () => {});
    this.note.textContent = row && picture ? signed(row.dt * 1000, "+") : "";
    this.outlines = [];
    if (!picture) {
      context.fillStyle = palette.muted;
      context.font = `13px ${FONT}`;
      context.textAlign = "center";
      context.fillText("no image in this frame", width / 2, height / 2);
      return;
    }
    if (!picture.complete || !picture.naturalWidth) return;
    const camera = recording.cameras[this.agent] || { width: picture.naturalWidth, height: picture.naturalHeight };
    const scale = Math.min(width / camera.width, height / camera.height);
    this.view = { scale, x: (width - camera.width * scale) / 2, y: (height - camera.height * scale) / 2 };
    context.drawImage(picture, this.view.x, this.view.y, camera.width * scale, camera.height * scale);
    if (state.layers.overlay && recording.cameras[this.agent]) this.drawBoxes(context, frame, row, height);
  }

  place([x, y]) {
    return [this.view.x + x * this.view.scale, this.view.y + y * this.view.scale];
  }

  isSeen(track) {
    return track.seen === "both" || track.seen === (this.agent === recording.vehicle ? "ego" : "remote");
  }

  drawBoxes(context, frame, row, height) {
    const camera = recording.cameras[this.agent];
    const project = (box) => projectBox(camera, row.T, box, row.dt);
    context.save();
    context.beginPath();
    context.rect(...this.place([0, 0]), camera.width * this.view.scale, camera.height * this.view.scale);
    context.clip();
    if (state.layers.truth) {
      for (const outline of frame.truth.map(project)) if (outline) this.stroke(context, outline, palette.truth, 1, []);
    }
    this.outlines = shown(frame.tracks).map(project).filter(Boolean)
      .sort((a, b) => isFaint(b.box) - isFaint(a.box) || b.distance - a.distance);
    for (const outline of this.outlines) this.drawBox(context, outline);
    context.restore();
    if (state.layers.labels) this.drawLabels(context, camera.width * this.view.scale, height);
  }

  drawBox(context, outline) {
    const { box } = outline;
    const color = trackColor(box.id);
    if (isFaint(box)) {
      this.stroke(context, outline, color, 1, [], 0.5);
      return;
    }
    const active = isActive(box);
    const seen = this.isSeen(box);
    if (outline.corners) {
      const fill = (points, alpha) => {
        context.globalAlpha = alpha;
        context.fillStyle = color;
        context.beginPath();
        points.forEach((p, k) => (k ? context.lineTo(...this.place(p)) : context.moveTo(...this.place(p))));
        context.fill();
        context.globalAlpha = 1;
      };
      fill(FRONT.map((k) => outline.corners[k]), seen ? 0.24 : 0.08);
      if (active) for (const face of [[0, 1, 2, 3], [0, 3, 7, 4], [1, 2, 6, 5]]) fill(face.map((k) => outline.corners[k]), 0.14);
    }
    const near = outline.distance < 30 ? 1.8 : 1.2;
    this.stroke(context, outline, active ? "#ffffff" : color, active ? near + 0.8 : near, seen ? [] : [4, 4], seen ? 1 : 0.85);
  }

  stroke(context, outline, color, width, dash, alpha = 1) {
    context.globalAlpha = alpha;
    context.strokeStyle = color;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    for (const [a, b] of outline.segments) {
      context.moveTo(...this.place(a));
      context.lineTo(...this.place(b));
    }
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  drawLabels(context, width, height) {
    const labels = [...this.outlines].reverse().filter(({ box }) => !isFaint(box)).map(({ box, anchor, distance }) => {
      const size = distance < 35 || state.expanded === this.agent ? 11 : 9.5;
      const text = this.isSeen(box) ? String(box.id) : `(${box.id})`;
      context.font = `600 ${size}px ${FONT}`;
      const w = context.measureText(text).width + 8;
      const [x, y] = this.place(anchor);
      const hidden = box.hidden && this.agent === recording.vehicle;
      const active = isActive(box);
      const border = active ? "#ffffff" : hidden ? palette.remote : null;
      return { x: x - w / 2, y: y - size - 7, w, h: size + 4, size, text, color: trackColor(box.id), border, fill: hidden ? "rgba(13,48,31,.88)" : null };
    });
    for (const label of placeLabels(labels, width, height, this.reserved(), this.view.x)) {
      context.font = `600 ${label.size}px ${FONT}`;
      drawPill(context, label);
    }
  }

  /** Where caption and button lie over the image. */
  reserved() {
    return [this.caption, this.button].map(({ offsetLeft: x, offsetTop: y, offsetWidth: w, offsetHeight: height }) => ({ x, y, w, h: height }));
  }

  /** Id of the nearest track whose outline contains the pointer, or null. */
  pick(event) {
    if (!this.view) return null;
    const x = (event.offsetX - this.view.x) / this.view.scale;
    const y = (event.offsetY - this.view.y) / this.view.scale;
    for (const outline of [...this.outlines].reverse()) {
      const points = outline.segments.flat();
      const xs = points.map((p) => p[0]);
      const ys = points.map((p) => p[1]);
      if (x >= Math.min(...xs) && x <= Math.max(...xs) && y >= Math.min(...ys) && y <= Math.max(...ys)) return outline.box.id;
    }
    return null;
  }
}
