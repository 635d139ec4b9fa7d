/* What charts are made of: elements, axes, markers. */
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const PERCENTS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 50, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99];
const CHARACTER = 6.4;

/** An element with attributes and children; those that are nothing are left out. */
function element(tag, attributes = {}, ...children) {
  return furnished(document.createElement(tag), attributes, children);
}

function drawn(tag, attributes = {}, ...children) {
  return furnished(document.createElementNS(SVG, tag), attributes, children);
}

function furnished(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) node.style.setProperty(key, each);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** How values lie along an axis. Values outside of `least` and `most` have no place on it. */
const SCALES = {
  linear: { forward: (v) => v, backward: (p) => p, least: -Infinity, most: Infinity },
  log: { forward: Math.log, backward: Math.exp, least: 1e-12, most: Infinity },
  logit: {
    forward: (v) => Math.log(v / (1 - v)), backward: (p) => 1 / (1 + Math.exp(-p)),
    least: 0.0005, most: 0.9999,
  },
};

/** An axis of some pixels around some values: `at` places a value, `ticks` are to be written. */
function axis({ scale, kind, values, start, end, apart }) {
  const { forward, backward, least, most } = SCALES[scale];
  const clipped = (value) => Math.min(Math.max(value, least), most);
  const places = values.map((value) => forward(clipped(value))).filter(Number.isFinite);
  let low = Math.min(...places), high = Math.max(...places);
  const span = Math.max(high - low, 1e-3 * Math.max(Math.abs(low), Math.abs(high)), scale === "linear" ? 1e-9 : 0.1);
  const margin = 0.06 * span + (span - (high - low)) / 2;
  low -= margin; high += margin;
  const at = (value) => start + ((forward(clipped(value)) - low) / (high - low)) * (end - start);
  const ladder = rungs(scale, kind, backward(low), backward(high));
  const ticks = [];
  for (const tick of ladder) {
    const place = at(tick);
    if (!ticks.length || Math.abs(place - ticks.at(-1).place) >= apart) ticks.push({ value: tick, place });
  }
  return { at, ticks };
}

/** Round values between two, at which there may be ticks. */
function rungs(scale, kind, low, high) {
  let ladder = [];
  if (scale === "logit") ladder = PERCENTS.map((percent) => percent / 100);
  else if (scale === "log") {
    const digits = kind === "times" ? null : [1, 2, 5];
    for (let power = -12; power <= 40; power++) {
      if (digits) ladder.push(...digits.map((digit) => digit * 10 ** power));
      else ladder.push(2 ** power);
    }
  }
  const within = ladder.filter((value) => value >= low && value <= high);
  return within.length >= 3 ? within : evenly(low, high);
}

function evenly(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((digit) => digit * power >= rough * 0.999);
  const values = [];
  for (let number = Math.ceil(low / step); number * step <= high; number++) values.push(Number((number * step).toPrecision(12)));
  return values;
}

/** The outline of a marker of some radius around the origin, by matplotlib's letters. */
function outline(marker, r) {
  const polygon = (corners, turn = -Math.PI / 2, radii = [r]) => {
    const points = [];
    for (let n = 0; n < corners; n++) {
      const angle = turn + (2 * Math.PI * n) / corners, radius = radii[n % radii.length];
      points.push(`${(radius * Math.cos(angle)).toFixed(2)},${(radius * Math.sin(angle)).toFixed(2)}`);
    }
    return `M${points.join("L")}Z`;
  };
  const cross = (turn) => {
    const t = 0.38 * r, points = [[t, -r], [t, -t], [r, -t], [r, t], [t, t], [t, r], [-t, r], [-t, t], [-r, t], [-r, -t], [-t, -t], [-t, -r]];
    const c = Math.cos(turn), s = Math.sin(turn);
    return `M${points.map(([x, y]) => `${(x * c - y * s).toFixed(2)},${(x * s + y * c).toFixed(2)}`).join("L")}Z`;
  };
  const shapes = {
    o: () => `M${-r},0a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0Z`,
    s: () => polygon(4, -Math.PI / 4, [1.25 * r]),
    "^": () => polygon(3, -Math.PI / 2, [1.3 * r]),
    v: () => polygon(3, Math.PI / 2, [1.3 * r]),
    D: () => polygon(4, -Math.PI / 2, [1.3 * r]),
    d: () => polygon(4, -Math.PI / 2, [1.3 * r, 0.75 * r]),
    p: () => polygon(5, -Math.PI / 2, [1.15 * r]),
    h: () => polygon(6, -Math.PI / 2, [1.15 * r]),
    "*": () => polygon(10, -Math.PI / 2, [1.4 * r, 0.6 * r]),
    P: () => cross(0),
    X: () => cross(Math.PI / 4),
  };
  return (shapes[marker] || shapes.o)();
}

/** A marker and a piece of line, as they stand in a legend. */
function swatch(look) {
  return drawn("svg", { class: "swatch", viewBox: "0 0 30 14", width: 30, height: 14, "aria-hidden": "true", style: { "--colour": look.colour } },
    drawn("path", { class: "stroke", d: "M0,7H30", "stroke-dasharray": look.dash || null }),
    drawn("path", { class: look.filled ? "marker" : "marker hollow", d: outline(look.marker, 4), transform: "translate(15,7)" }));
}

function shortened(text, width) {
  const most = Math.max(3, Math.floor(width / CHARACTER));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
