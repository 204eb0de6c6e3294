// The player: builds the page and keeps it in step with the state.
import style from "./style.css";
import { CameraPanel } from "./cameras.js";
import { counts, crowded, empty, frameAt, frames, others, palette, recording, sourceColor, SOURCES } from "./data.js";
import { h, icon, signed } from "./dom.js";
import { drawLabels } from "./labels.js";
import { fromHash, state, subscribe, update } from "./state.js";
import { Details, Table } from "./table.js";
import { Timeline } from "./timeline.js";
import { World } from "./world.js";

const VIEWS = [
  ["overview", "Overview", "1"], ["top", "Top", "2"], ["follow", "Follow vehicle", "3"], ["roadside", "Roadside", "4"], ["track", "Follow track", "5"],
];
const LAYERS = [
  ["labels", "ids", "L"], ["overlay", "boxes in the images", "B"], ["truth", "ground truth", "G"], ["pairs", "association lines", "A"],
  ["unmatched", "unmatched instances", "U"], ["trails", "trails", "T"], ["arrows", "velocities", "V"], ["views", "fields of view", "C"],
  ["road", "road picture", "R"], ["models", "bodies", "M"], ["doubtful", "doubtful tracks", "D"],
];
const SPEEDS = [0.25, 0.5, 1, 2, 4];
const last = Math.max(frames.length - 1, 0);
const rate = last > 0 && frames[last].t > 0 ? last / frames[last].t : 10;

document.head.append(h("style", {}, style));
for (const [name, value] of Object.entries(palette)) if (typeof value === "string") document.documentElement.style.setProperty(`--${name}`, value);

let dirty = true;
const redraw = () => (dirty = true);

// ---- page ----
const stage = h("canvas", { class: "gl", "aria-label": "3D view" });
const overlay = h("canvas", { class: "labels" });
const timeline = new Timeline();
const table = new Table();
const details = new Details();
const cameras = [recording.vehicle, ...recording.roadside].filter((agent) => recording.cameras[agent] || frames.some((f) => f.cameras[agent]))
  .map((agent) => new CameraPanel(agent, redraw));

const statistic = (name, color) => {
  const value = h("b", color ? { style: `color:${color}` } : {});
  return { value, element: h("div", { class: "stat" }, value, h("span", {}, name)) };
};
const stats = {
  tracks: statistic("tracks"),
  ...Object.fromEntries(SOURCES.map(([key, name]) => [key, statistic(name, sourceColor(key))])),
  hidden: statistic("never seen by vehicle", palette.remote),
  pairs: statistic("pairs", palette.pair),
  age: statistic("message age"),
  size: statistic("message size"),
};
const clock = h("b");
const frameNote = h("span");
const alarm = h("div", { class: "alarm" });

const viewButtons = VIEWS.map(([key, name, hot]) => h("button", { title: `${name} (${hot})`, "data-view": key, onclick: () => update({ view: key }) }, name));
const layerBoxes = LAYERS.map(([key, name, hot]) => {
  const box = h("input", { type: "checkbox", onchange: () => update({ layers: { [key]: box.checked } }) });
  return { key, box, element: h("label", {}, box, name, h("kbd", {}, hot)) };
});
const layers = h("details", { class: "layers" }, h("summary", {}, "Layers"), ...layerBoxes.map((item) => item.element));

const sign = (kind) => h("i", { class: `sign ${kind}` });
const legend = h(
  "details", { class: "legend" }, h("summary", {}, "Legend"),
  h("div", {}, sign("track"), "track, colour by id"),
  h("div", {}, sign("hidden"), `known only through ${crowded ? others : "the roadside"}`),
  h("div", {}, sign("dashed"), "not measured by the vehicle now"),
  h("div", {}, sign("faint"), "faint: low score, doubtful (D)"),
  h("div", {}, sign("pair"), "associated pair"),
  h("div", {}, sign("ego"), "unmatched, vehicle"),
  h("div", {}, sign("remote"), `unmatched, ${others}`),
  h("div", {}, sign("truth"), "ground truth (G)"),
  h("div", {}, h("i", { class: "sign word" }, "(7)"), "in an image: not measured by its camera"),
);

const slider = h("input", { type: "range", min: 0, max: last, step: 1, value: 0, "aria-label": "frame", oninput: () => update({ time: Number(slider.value), playing: false }) });
const playButton = h("button", { class: "play", title: "Play or pause (space)", onclick: () => play(!state.playing) }, icon("play"));
const step = (by) => update({ time: Math.min(Math.max(Math.round(state.time) + by, 0), last), playing: false });
const speed = h("select", { title: "Speed", "aria-label": "speed", onchange: () => update({ speed: Number(speed.value) }) }, ...SPEEDS.map((v) => h("option", { value: v }, `${v}×`)));
const transport = h(
  "div", { class: "transport" },
  h("button", { title: "Frame back (←)", "aria-label": "frame back", onclick: () => step(-1) }, icon("back")), playButton,
  h("button", { title: "Frame on (→)", "aria-label": "frame on", onclick: () => step(1) }, icon("on")), speed, slider,
  h("span", { class: "keys" }, "space play · ← → step · 1–5 views · G truth · L ids"),
);

const panels = [h("nav", { class: "views" }, ...viewButtons), layers, legend, details.element, alarm];
document.body.append(
  h(
    "div", { class: "app" },
    h(
      "header", { class: "top" },
      h("div", { class: "brand" }, h("b", {}, "cooptrack"), h("span", {}, `${recording.mode} · ${recording.detector} detector`)),
      h("div", { class: "stats" }, ...Object.values(stats).map((item) => item.element)),
      h("div", { class: "stat clock" }, clock, frameNote),
    ),
    h("section", { class: "stage" }, stage, overlay, ...panels),
    h("aside", {}, h("div", { class: "cameras" }, ...cameras.map((panel) => panel.element)), table.element),
    h("footer", {}, transport, timeline.canvas),
  ),
);

legend.open = window.innerWidth > 1100 && window.innerHeight > 640;

// ---- behaviour ----
function play(on) {
  update({ playing: on && !empty, time: on && state.time >= last ? 0 : state.time });
}

function showState() {
  viewButtons.forEach((button) => button.classList.toggle("on", button.dataset.view === state.view));
  viewButtons[4].disabled = state.selected === null;
  for (const { key, box } of layerBoxes) box.checked = state.layers[key];
  playButton.replaceChildren(icon(state.playing ? "pause" : "play"));
  speed.value = String(state.speed);
  for (const panel of cameras) panel.element.classList.toggle("expanded", panel.agent === state.expanded);
  legend.classList.toggle("with-truth", state.layers.truth);
}

function showFrame(frame) {
  const index = frame.index;
  slider.value = index;
  slider.style.setProperty("--done", `${last ? (state.time / last) * 100 : 0}%`);
  stats.tracks.value.textContent = frame.tracks.length;
  for (const [key] of SOURCES) stats[key].value.textContent = counts[index][key];
  stats.hidden.value.textContent = counts[index].hidden;
  stats.pairs.value.textContent = frame.pairs.length;
  const used = frame.messages;
  stats.age.value.textContent = used.length ? signed(Math.max(...used.map((m) => m.age_ms ?? 0))) : "–";
  stats.size.value.textContent = used.length ? `${(used.reduce((sum, m) => sum + (m.bytes ?? 0), 0) / 1000).toFixed(1)} kB` : "–";
  clock.textContent = `${frame.t.toFixed(1)} s`;
  frameNote.textContent = `frame ${index + 1} of ${frames.length}`;
  const words = [];
  if (!frame.pose_known) words.push("vehicle pose unknown");
  if (frame.predicted_only) words.push("no usable input: predicted tracks only");
  for (const refusal of frame.refused) words.push(`message ${refusal.sequence} of ${refusal.agent} refused: ${refusal.reason}`);
  if (!used.length && recording.roadside.length && frame.pose_known) words.push("no roadside message in this frame");
  alarm.textContent = words.join(" · ");
  alarm.hidden = !words.length;
}

let world = null;
try {
  world = new World(stage);
  world.onready = redraw;
} catch (error) {
  alarm.textContent = `This browser offers no WebGL, so there is no 3D view: ${error.message}`;
}

function draw(now) {
  const frame = empty ? null : frameAt(state.time);
  if (frame) showFrame(frame);
  else {
    frameNote.textContent = "empty recording";
    alarm.textContent = "The recording has no frames.";
  }
  const still = frame && frames[frame.index];
  const moving = world ? world.draw(frame, now) : false;
  if (world) drawLabels(overlay, world, frame, panels);
  for (const panel of cameras) panel.draw(still && { ...still, index: frame.index }, [1, 2, 3].map((k) => frames[(frame?.index ?? 0) + k]));
  timeline.draw();
  table.draw(still);
  details.draw(still);
  return moving;
}

let before = performance.now();
function loop(now) {
  const passed = Math.min(Math.max((now - before) / 1000, 0), 0.25); // a first frame may be stamped before the page
  before = now;
  if (state.playing) {
    const time = state.time + passed * rate * state.speed;
    if (time >= last) update({ time: last, playing: false });
    else update({ time });
  }
  if (dirty) {
    dirty = false;
    if (draw(now)) dirty = true;
  }
  requestAnimationFrame(loop);
}

subscribe((changed) => {
  dirty = true;
  if (changed.has("playing") && !state.playing && !Number.isInteger(state.time)) state.time = Math.round(state.time);
  if (changed.has("view") && world) world.goTo(state.view, empty ? null : frameAt(state.time));
  else if (changed.has("selected") && state.view === "track" && world) world.goTo(state.selected === null ? "overview" : "track", frameAt(state.time));
  if (changed.has("selected") && state.selected === null && state.view === "track") state.view = "overview";
  if (["playing", "view", "layers", "expanded", "selected", "speed"].some((key) => changed.has(key))) showState();
  if (changed.has("expanded")) resize();
});

/** An enlarged camera lies exactly over the 3D view. */
function placeEnlarged() {
  const rect = stage.parentElement.getBoundingClientRect();
  for (const { agent, element } of cameras) {
    const place = agent === state.expanded ? { left: rect.left, top: rect.top, width: rect.width, height: rect.height } : {};
    for (const side of ["left", "top", "width", "height"]) element.style[side] = side in place ? `${place[side]}px` : "";
  }
}

function resize() {
  world?.resize();
  placeEnlarged();
  dirty = true;
}
new ResizeObserver(resize).observe(stage.parentElement);
for (const panel of cameras) new ResizeObserver(resize).observe(panel.element);

const keys = {
  " ": () => play(!state.playing), ArrowLeft: (e) => step(e.shiftKey ? -10 : -1), ArrowRight: (e) => step(e.shiftKey ? 10 : 1),
  Home: () => update({ time: 0, playing: false }), End: () => update({ time: last, playing: false }),
  Escape: () => update({ selected: null, hovered: null, expanded: null }),
  f: () => state.selected !== null && update({ view: "track" }),
  ...Object.fromEntries(VIEWS.map(([key, , hot]) => [hot, () => (key !== "track" || state.selected !== null) && update({ view: key })])),
  ...Object.fromEntries(LAYERS.map(([key, , hot]) => [hot.toLowerCase(), () => update({ layers: { [key]: !state.layers[key] } })])),
};
window.addEventListener("keydown", (event) => {
  const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  event.preventDefault();
  action(event);
});

if (world) {
  let down = null;
  stage.addEventListener("pointerdown", (event) => (down = [event.clientX, event.clientY]));
  stage.addEventListener("pointerup", (event) => {
    if (down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 4) update({ selected: world.pick(event.clientX, event.clientY) });
    down = null;
  });
  stage.addEventListener("pointermove", (event) => !event.buttons && update({ hovered: world.pick(event.clientX, event.clientY) }));
  stage.addEventListener("pointerleave", () => update({ hovered: null }));
  world.controls.addEventListener("change", redraw);
  world.resize();
}

function applyHash(at_once) {
  const { playing, ...changes } = fromHash(window.location.hash, frames.length, at_once ? recording.start || 0 : state.time);
  update(changes);
  if (world) world.goTo(state.view, empty ? null : frameAt(state.time), at_once);
  if (playing) play(true);
}
window.addEventListener("hashchange", () => applyHash(false));
showState();
applyHash(true);
requestAnimationFrame(loop);
