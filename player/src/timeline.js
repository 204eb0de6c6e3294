// Strip charts over all frames: tracks by source, age and size of the message used. Click or drag to seek.
import { SOURCES, counts, frames, palette, sourceColor } from "./data.js";
import { FONT, h, prepare, signed } from "./dom.js";
import { state, update } from "./state.js";

const LEFT = 112;
const RIGHT = 14;

const messageSum = (frame, key) => (frame.messages.length ? frame.messages.reduce((sum, m) => sum + (m[key] || 0), 0) : null);
const ages = frames.map((frame) => (frame.messages.length ? Math.max(...frame.messages.map((m) => m.age_ms ?? 0)) : null));
const bytes = frames.map((frame) => messageSum(frame, "bytes"));
const most = Math.max(1, ...counts.map((c) => c.both + c.ego + c.remote + c.predicted));
const extent = (values) => [Math.min(0, ...values.map((v) => v ?? 0)), Math.max(0, ...values.map((v) => v ?? 0))];
const ageExtent = extent(ages); // a message may be younger than the vehicle's frame: its age is negative
const byteExtent = extent(bytes);

export class Timeline {
  constructor() {
    this.canvas = h("canvas", { class: "timeline", tabindex: "-1" });
    const seek = (event) => {
      const { width } = this.canvas.getBoundingClientRect();
      const f = (event.offsetX - LEFT) / (width - LEFT - RIGHT);
      update({ time: Math.round(Math.min(Math.max(f, 0), 1) * (frames.length - 1)), playing: false });
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      if (!frames.length) return;
      this.canvas.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.canvas.addEventListener("pointermove", (event) => event.buttons && frames.length && seek(event));
  }

  draw() {
    const { context, width, height } = prepare(this.canvas);
    const axis = 18;
    const lanes = height - axis > 96 ? 3 : height - axis > 60 ? 2 : 1;
    const first = lanes === 1 ? height - axis : (height - axis) * (lanes === 3 ? 0.46 : 0.58);
    const rest = lanes > 1 ? (height - axis - first) / (lanes - 1) : 0;
    this.x = (k) => LEFT + (k / Math.max(frames.length - 1, 1)) * (width - LEFT - RIGHT);
    this.axis(context, width, height, axis);
    this.stacked(context, 2, first - 6);
    const index = Math.round(state.time);
    if (lanes > 1) this.bars(context, first, rest - 5, ages, ageExtent, "#c9b8ff", "message age", ages[index] == null ? "none" : signed(ages[index]));
    if (lanes > 2) this.bars(context, first + rest, rest - 5, bytes, byteExtent, "#7fd1c7", "message size", bytes[index] == null ? "none" : `${(bytes[index] / 1000).toFixed(1)} kB`);
    this.refusals(context, height - axis);
    this.playhead(context, height - axis);
  }

  axis(context, width, height, axis) {
    if (!frames.length) return;
    const total = frames[frames.length - 1].t;
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300].find((s) => total / s <= 14) || 600;
    context.font = `10.5px ${FONT}`;
    context.textBaseline = "middle";
    context.textAlign = "center";
    for (let t = 0; t <= total + 1e-6; t += step) {
      const x = LEFT + (total > 0 ? t / total : 0) * (width - LEFT - RIGHT);
      context.fillStyle = palette.line;
      context.fillRect(Math.round(x), 0, 1, height - axis + 3);
      context.fillStyle = palette.muted;
      context.fillText(`${step < 1 ? t.toFixed(1) : t.toFixed(0)} s`, x, height - axis / 2 + 1);
    }
  }

  title(context, y, name, value) {
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    context.fillStyle = palette.muted;
    context.font = `11px ${FONT}`;
    context.fillText(name, 4, y + 11);
    context.fillStyle = palette.text;
    context.font = `600 12px ${FONT}`;
    context.fillText(value, 4, y + 26);
  }

  stacked(context, y, room) {
    const floor = frames.map(() => 0);
    for (const [key] of SOURCES) {
      context.fillStyle = sourceColor(key);
      context.globalAlpha = 0.72;
      context.beginPath();
      for (let k = 0; k < frames.length; k++) context.lineTo(this.x(k), y + room - ((floor[k] + counts[k][key]) / most) * room);
      for (let k = frames.length - 1; k >= 0; k--) context.lineTo(this.x(k), y + room - (floor[k] / most) * room);
      context.fill();
      for (let k = 0; k < frames.length; k++) floor[k] += counts[k][key];
    }
    context.globalAlpha = 1;
    const now = frames.length ? frames[Math.round(state.time)].tracks.length : 0;
    this.title(context, y, "tracks by source", `${now} · most ${most}`);
  }

  bars(context, y, room, values, [low, high], color, name, value) {
    const w = Math.max(1, (this.x(1) - this.x(0)) * 0.66);
    const scale = (room - 3) / Math.max(high - low, 1);
    const zero = y + 3 + high * scale;
    context.fillStyle = palette.line;
    context.fillRect(LEFT, zero, this.x(Math.max(frames.length - 1, 1)) - LEFT, 1);
    context.fillStyle = color;
    values.forEach((v, k) => {
      if (v === null) return;
      context.globalAlpha = k === Math.round(state.time) ? 1 : 0.55;
      const bar = Math.sign(v || 1) * Math.max(1, Math.abs(v) * scale);
      context.fillRect(this.x(k) - w / 2, zero - bar, w, bar);
    });
    context.globalAlpha = 1;
    this.title(context, y + (room - 28) / 2, name, value);
  }

  /** Red ticks: a message was refused, or no message came. */
  refusals(context, bottom) {
    frames.forEach((frame, k) => {
      if (!frame.refused.length && !frame.predicted_only && frame.pose_known) return;
      context.fillStyle = palette.warning;
      context.fillRect(this.x(k) - 1.5, bottom - 3, 3, 3);
    });
  }

  playhead(context, bottom) {
    if (!frames.length) return;
    const x = this.x(state.time);
    context.fillStyle = "#ffffff";
    context.fillRect(x - 0.75, 0, 1.5, bottom);
    context.beginPath();
    context.arc(x, 4, 4, 0, 7);
    context.fill();
  }
}
