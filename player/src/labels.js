// Ids over the 3D view, on a flat canvas: crisp at every size and kept apart.
import { palette, placesOf, recording, speedOf, trackColor } from "./data.js";
import { FONT, drawPill, prepare, signed } from "./dom.js";
import { placeLabels } from "./geometry.js";
import { isActive, isFaint, state } from "./state.js";

const FAR_M = 180;

/** Draws the labels of a frame; panels: elements over the view that labels keep clear of. */
export function drawLabels(canvas, world, frame, panels) {
  const { context, width, height } = prepare(canvas);
  if (!frame) return;
  const labels = [];
  const add = (point, text, color, extra) => {
    const at = world.toScreen(point);
    if (!at || at[0] < -20 || at[0] > width + 20 || at[1] < -20 || at[1] > height + 20) return;
    const size = extra.size || 12;
    context.font = `600 ${size}px ${FONT}`;
    const w = context.measureText(text).width + 10;
    labels.push({ x: at[0] - w / 2, y: at[1] - size - 12, w, h: size + 6, ax: at[0], ay: at[1], text, color, size, ...extra });
  };
  const ego = frame.ego;
  add([ego[3], ego[7], 2.1], recording.vehicle, palette.ego, { border: palette.ego });
  for (const [agent, p] of Object.entries(placesOf(frame))) {
    const used = frame.messages.find((message) => message.agent === agent);
    const text = used ? `${agent} · ${signed(used.age_ms ?? 0)}` : agent;
    add([p[0], p[1], p[2] + 0.8], text, palette.remote, { border: palette.remote });
  }
  if (state.layers.labels) {
    for (const track of frame.tracks.filter((item) => !isFaint(item))) {
      const active = isActive(track);
      const far = world.distanceTo(track.c) > FAR_M && !active;
      const text = active ? `${track.id} · ${track.cls.replace("_", " ")} · ${speedOf(track).toFixed(1)} m/s` : String(track.id);
      const border = active ? "#ffffff" : track.hidden ? palette.remote : null;
      add([track.c[0], track.c[1], track.c[2] + track.s[2] / 2 + 0.15], text, trackColor(track.id), {
        border, size: active ? 13 : far ? 10 : 12, fill: track.hidden ? "rgba(13,48,31,.88)" : null,
      });
    }
  }
  const covered = panels.filter((panel) => !panel.hidden)
    .map(({ offsetLeft: x, offsetTop: y, offsetWidth: w, offsetHeight: tall }) => ({ x, y, w, h: tall }));
  for (const label of placeLabels(labels, width, height, covered)) {
    if (Math.abs(label.y + label.h - label.ay) > 16) {
      context.strokeStyle = "rgba(180,195,210,.35)";
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(label.ax, label.ay);
      context.lineTo(label.x + label.w / 2, label.y + label.h);
      context.stroke();
    }
    context.font = `600 ${label.size}px ${FONT}`;
    drawPill(context, label);
  }
}
