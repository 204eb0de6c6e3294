// List of the tracks of the frame, and what is known of the selected one.
import { crowded, nearestTruth, others, palette, recording, speedOf, trackColor } from "./data.js";
import { h } from "./dom.js";
import { state, update } from "./state.js";

const SEEN_WORDS = {
  both: `vehicle and ${others}`, ego: "vehicle", remote: others, predicted: "nobody in this frame: predicted",
};
const distance = (frame, track) => Math.hypot(track.c[0] - frame.ego[3], track.c[1] - frame.ego[7]);
const COLUMNS = [
  ["id", "id", (frame, track) => track.id],
  ["class", "class", (frame, track) => track.cls],
  ["m/s", "speed over ground", (frame, track) => speedOf(track)],
  ["m", "distance from the vehicle", (frame, track) => distance(frame, track)],
  ["age", "frames since the track began", (frame, track) => track.age ?? 0],
  ["seen by", `V vehicle, ${crowded ? "O others" : "R roadside"}, in this frame`, (frame, track) => ["predicted", "ego", "both", "remote"].indexOf(track.seen) + (track.hidden ? 1 : 0)],
];

const dot = (letter, on, color) => h("i", { class: on ? "on" : "", style: on ? `--c:${color}` : null }, letter);

export class Table {
  constructor() {
    this.sort = { column: 0, up: true };
    const heads = COLUMNS.map(([name, title], k) => h("th", { title, onclick: () => this.sortBy(k) }, name));
    this.heads = heads;
    this.body = h("tbody");
    this.element = h("div", { class: "table" }, h("table", {}, h("thead", {}, h("tr", {}, ...heads)), this.body));
    this.body.addEventListener("mouseover", (event) => update({ hovered: this.idOf(event) }));
    this.body.addEventListener("mouseleave", () => update({ hovered: null }));
    this.body.addEventListener("click", (event) => {
      const id = this.idOf(event);
      update({ selected: id === state.selected ? null : id });
    });
    this.body.addEventListener("dblclick", (event) => update({ selected: this.idOf(event), view: "track" }));
  }

  idOf(event) {
    const row = event.target.closest("tr");
    return row ? Number(row.dataset.id) : null;
  }

  sortBy(column) {
    this.sort = { column, up: this.sort.column === column ? !this.sort.up : true };
    update({ layers: {} });
  }

  draw(frame) {
    this.heads.forEach((head, k) => head.setAttribute("data-sort", k === this.sort.column ? (this.sort.up ? "up" : "down") : ""));
    if (!frame) return;
    const value = COLUMNS[this.sort.column][2];
    const sign = this.sort.up ? 1 : -1;
    const tracks = [...frame.tracks].sort((a, b) => {
      const [x, y] = [value(frame, a), value(frame, b)];
      return sign * (x < y ? -1 : x > y ? 1 : 0) || a.id - b.id;
    });
    this.body.replaceChildren(...tracks.map((track) => this.row(frame, track)));
  }

  row(frame, track) {
    const classes = [track.id === state.selected && "selected", track.id === state.hovered && "hovered", track.hidden && "hidden-track", track.faint && "faint-track"];
    const vehicle = track.seen === "ego" || track.seen === "both";
    const roadside = track.seen === "remote" || track.seen === "both";
    return h(
      "tr", { "data-id": track.id, class: classes.filter(Boolean).join(" ") },
      h("td", {}, h("span", { class: "swatch", style: `background:${trackColor(track.id)}` }), String(track.id)),
      h("td", {}, track.cls.replace("_", " ")),
      h("td", {}, speedOf(track).toFixed(1)),
      h("td", {}, distance(frame, track).toFixed(0)),
      h("td", {}, String(track.age ?? "")),
      h("td", { class: "dots", title: SEEN_WORDS[track.seen] }, dot("V", vehicle, palette.ego), dot(crowded ? "O" : "R", roadside, palette.remote)),
    );
  }
}

/** Card about the selected or hovered track. */
export class Details {
  constructor() {
    this.element = h("div", { class: "details" });
  }

  draw(frame) {
    const id = state.hovered ?? state.selected;
    const track = frame?.tracks.find((item) => item.id === id);
    this.element.hidden = id === null || !frame;
    if (this.element.hidden) return;
    if (!track) {
      this.element.replaceChildren(h("header", {}, h("b", {}, `track ${id}`), h("span", {}, "not in this frame")));
      return;
    }
    const rows = this.rows(frame, track).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
    const follow = h("button", { onclick: () => update({ selected: track.id, view: "track" }) }, "follow");
    const close = h("button", { class: "icon", title: "Close (Esc)", onclick: () => update({ selected: null, hovered: null }) }, "×");
    this.element.replaceChildren(
      h("header", {}, h("span", { class: "swatch big", style: `background:${trackColor(track.id)}` }), h("b", {}, `track ${track.id}`), h("span", {}, track.cls.replace("_", " ")), follow, close),
      ...(track.hidden ? [h("p", { class: "only-remote" }, `known only through ${crowded ? others : "the roadside"}`)] : []),
      h("dl", {}, ...rows.flat()),
    );
  }

  rows(frame, track) {
    const seen = track.agents.length && track.seen !== "ego" ? `${track.seen === "both" ? `${recording.vehicle}, ` : ""}${track.agents.join(", ")}` : SEEN_WORDS[track.seen];
    const truth = nearestTruth(frame, track);
    const rows = [
      ["measured by", seen],
      ["speed", `${speedOf(track).toFixed(1)} m/s  (${(speedOf(track) * 3.6).toFixed(0)} km/h)`],
      ["distance", `${distance(frame, track).toFixed(1)} m from the vehicle`],
      ["size", track.s.map((v) => v.toFixed(1)).join(" × ") + " m"],
      ["age", `${track.age ?? "?"} frames, ${track.hits ?? "?"} hits`],
      ["last measured", track.since == null ? "?" : track.since < 0.005 ? "in this frame" : `${track.since.toFixed(2)} s ago`],
      ["std x, y", track.std ? track.std.map((v) => (v == null ? "?" : v.toFixed(2))).join(", ") + " m" : "unknown"],
    ];
    if (track.score != null) rows.push(["score", track.score.toFixed(2)]);
    if (truth) {
      rows.push(["truth", `${truth.distance.toFixed(2)} m away, id ${truth.item.id}`]);
      const share = truth.item.visible == null ? "" : `, ${(truth.item.visible * 100).toFixed(0)} % in sight`;
      if (truth.item.view !== "unknown") rows.push(["vehicle's view", truth.item.view + share]);
    }
    return rows;
  }
}
