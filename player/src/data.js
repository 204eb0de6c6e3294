// The recording embedded in the page, and questions asked of it.
import { lerp, lerpAngle } from "./geometry.js";

const read = (id) => JSON.parse(document.getElementById(id)?.textContent || "null");

export const recording = read("recording");
export const images = read("images") || [];
export const { frames, palette } = recording;
export const empty = frames.length === 0;
export const TRAIL_S = 3;
export const crowded = recording.roadside.length > 1;
export const others = crowded ? "others" : "roadside";
/** Where the other agents are in a frame: units stand, vehicles move; [x, y, z] or, of a vehicle, [x, y, z, heading]. */
export const placesOf = (frame) => ({ ...recording.positions, ...(frame?.positions || {}) });
export const SOURCES = [
  ["both", "both"],
  ["ego", "vehicle only"],
  ["remote", `${others} only`],
  ["predicted", "predicted"],
];

export const trackColor = (id) => palette.tracks[(((id - 1) % palette.tracks.length) + palette.tracks.length) % palette.tracks.length];
export const sourceColor = (seen) => palette[seen];
export const speedOf = (box) => Math.hypot(box.v[0], box.v[1]);

const byId = frames.map((frame) => new Map(frame.tracks.map((track) => [track.id, track])));
const truthById = frames.map((frame) => new Map(frame.truth.map((item) => [item.id, item])));

export const counts = frames.map((frame) => {
  const count = { both: 0, ego: 0, remote: 0, predicted: 0, hidden: 0 };
  for (const track of frame.tracks) {
    count[track.seen] += 1;
    count.hidden += track.hidden ? 1 : 0;
  }
  return count;
});

function between(box, next, f) {
  if (!next || f <= 0) return box;
  return { ...box, c: box.c.map((v, k) => lerp(v, next.c[k], f)), h: lerpAngle(box.h, next.h, f) };
}

/** Frame `time` (a fraction lies between two frames, while playing): boxes moved on towards the next frame. */
export function frameAt(time) {
  const index = Math.max(0, Math.min(Math.floor(time), frames.length - 1));
  const frame = frames[index];
  const f = Math.min(time - index, 1);
  if (f <= 0 || index + 1 >= frames.length) return { ...frame, index };
  const next = index + 1;
  const move = (p, q) => p.map((v, k) => lerp(v, q[k], f));
  return {
    ...frame,
    index,
    fraction: f,
    tracks: frame.tracks.map((track) => between(track, byId[next].get(track.id), f)),
    truth: frame.truth.map((item) => between(item, truthById[next].get(item.id), f)),
    ego: move(frame.ego, frames[next].ego),
  };
}

/** Where a track was in the seconds before a frame: list of [x, y, z], oldest first. */
export function trail(id, index) {
  const points = [];
  for (let k = index; k >= 0 && frames[index].t - frames[k].t <= TRAIL_S; k--) {
    const track = byId[k].get(id);
    if (track) points.push(track.c);
  }
  return points.reverse();
}

/** Ground truth nearest to a track within 2.5 m: {item, distance} or null. */
export function nearestTruth(frame, track) {
  let best = null;
  for (const item of frame.truth) {
    const distance = Math.hypot(item.c[0] - track.c[0], item.c[1] - track.c[1]);
    if (distance < (best?.distance ?? 2.5)) best = { item, distance };
  }
  return best;
}
