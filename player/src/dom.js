// Small helpers for building the page.

/** Element with attributes, listeners (on...) and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Canvas as large as its element in device pixels; returns its context scaled to CSS pixels, with the size. */
export function prepare(canvas) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const { clientWidth: width, clientHeight: height } = canvas;
  const [w, hgt] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== hgt) {
    canvas.width = w;
    canvas.height = hgt;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Text on a pill. Returns nothing. */
export function drawPill(context, { x, y, w, h: height, text, color, border, fill }) {
  context.beginPath();
  context.roundRect(x, y, w, height, 4);
  context.fillStyle = fill || "rgba(10,14,19,.82)";
  context.fill();
  if (border) {
    context.strokeStyle = border;
    context.lineWidth = 1.25;
    context.stroke();
  }
  context.fillStyle = color;
  context.textBaseline = "middle";
  context.textAlign = "center";
  context.fillText(text, x + w / 2, y + height / 2 + 0.5);
}

/** Milliseconds with a true minus sign; plus: sign of a positive number. */
export const signed = (ms, plus = "") => `${ms < -0.5 ? "\u2212" : plus}${Math.abs(ms).toFixed(0)} ms`;

export const FONT = 'Inter, "Segoe UI", system-ui, -apple-system, "Helvetica Neue", "DejaVu Sans", sans-serif';

const PATHS = {
  play: "M7 4.5v15l13-7.5z",
  pause: "M6 4.5h4v15H6zM14 4.5h4v15h-4z",
  back: "M6 5h2.5v14H6zM20 5v14L9.5 12z",
  on: "M15.500 5H18v14h-2.500zM4 5v14l10.500-7z",
  enlarge: "M4 4h7v2.400H8.100l3.700 3.700-1.700 1.700-3.700-3.700V11H4zM20 20h-7v-2.400h2.900l-3.700-3.700 1.700-1.700 3.700 3.700V13H20z",
};

/** Icon drawn as a path: fonts differ in the signs they have. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
