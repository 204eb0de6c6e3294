// What the user looks at; every change tells all listeners.

const listeners = new Set();

export const state = {
  time: 0, // in frames; whole unless playing
  playing: false,
  speed: 1,
  view: "overview",
  selected: null,
  hovered: null,
  expanded: null,
  layers: {
    labels: true, trails: true, arrows: true, pairs: true, unmatched: true, truth: false, views: true, road: true,
    overlay: true, models: true, doubtful: true,
  },
};

/** Whether somebody looks at a track just now. */
export const isActive = (track) => track.id === state.selected || track.id === state.hovered;
/** Whether a track is drawn as an outline alone: it has a low score, and nobody looks at it. */
export const isFaint = (track) => track.faint && !isActive(track);
/** The tracks of a frame that are to be seen. */
export const shown = (tracks) => (state.layers.doubtful ? tracks : tracks.filter((track) => !isFaint(track)));

export function subscribe(listener) {
  listeners.add(listener);
}

/** Applies changes and tells the listeners which keys changed. */
export function update(changes) {
  const changed = new Set();
  for (const [key, value] of Object.entries(changes)) {
    if (key === "layers") {
      state.layers = { ...state.layers, ...value };
      changed.add("layers");
    } else if (state[key] !== value || key === "view") {
      state[key] = value;
      changed.add(key);
    }
  }
  if (changed.size) for (const listener of listeners) listener(changed);
}

/** Changes named by the address, e.g. #frame=40&view=top&track=12&truth=1&play=1&expand=rsu; without a frame, `time`. */
export function fromHash(hash, frameCount, time) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const changes = { time, layers: {} };
  const number = (key) => (given.has(key) && Number.isFinite(Number(given.get(key))) ? Number(given.get(key)) : null);
  if (number("frame") !== null) changes.time = Math.min(Math.max(Math.round(number("frame")), 0), Math.max(frameCount - 1, 0));
  if (given.has("view")) changes.view = given.get("view");
  if (number("track") !== null) changes.selected = number("track");
  if (number("speed") !== null) changes.speed = number("speed");
  if (given.has("play")) changes.playing = given.get("play") !== "0";
  if (given.has("expand")) changes.expanded = given.get("expand");
  for (const layer of Object.keys(state.layers)) if (given.has(layer)) changes.layers[layer] = given.get(layer) !== "0";
  return changes;
}
