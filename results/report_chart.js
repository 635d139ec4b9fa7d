/* Charts: points, lines and intervals as SVG, which pointer and arrow keys go through. */

const NARROW = 620;
const LABEL_HEIGHT = 14;

/**
 * A chart in `host`, drawn again whenever the host has another width.
 *
 * `make(width)` returns a specification:
 *   name         what the chart is, for those who do not see it
 *   x, y         {title, scale, kind, write}; y.rows instead makes a row of each line
 *   lines        [{key, name, look, points: [{x, y, low, high, seeds, …}]}], a point with x null and `strip` has no place on the axis
 *   references   [{value, text}] of y, or of x where lines are rows; `breaks` are places on x
 *   intervals    "none", "band" or "bar"
 *   describe     (line, point) => {title, lines}
 *   onlight      (key or null) => what else is to be highlighted
 */
class Chart {
  constructor(host, make) {
    this.host = host;
    this.make = make;
    this.marks = [];
    this.current = -1;
    this.figure = element("div", { class: "figure", tabindex: 0, role: "group" });
    this.tip = element("div", { class: "tip", hidden: true });
    this.said = element("div", { class: "hidden", role: "status" });
    this.figure.addEventListener("pointermove", (event) => this.point(event));
    this.figure.addEventListener("pointerdown", (event) => this.point(event));
    this.figure.addEventListener("pointerleave", () => this.leave());
    this.figure.addEventListener("keydown", (event) => this.key(event));
    this.figure.addEventListener("blur", () => this.leave());
    host.append(this.figure, this.said);
    this.width = 0;
    new ResizeObserver(() => {
      if (Math.abs(this.figure.clientWidth - this.width) > 1) this.draw();
    }).observe(host);
  }

  draw() {
    this.width = this.figure.clientWidth;
    if (!this.width) return;
    this.current = -1;
    this.tip.hidden = true;
    const spec = (this.spec = this.make(this.width));
    this.figure.setAttribute("aria-label", `${spec.name}. Arrow keys go through the points.`);
    this.figure.replaceChildren();
    this.marks = [];
    this.groups = new Map();
    if (!spec.lines.some((line) => line.points.length)) {
      this.figure.append(element("p", { class: "note" }, "There is nothing to draw: no strategy that is shown has such numbers."));
      return;
    }
    this.figure.append(spec.y.rows ? this.rows(spec) : this.plane(spec), this.tip);
    this.light(null);
  }

  /** Lines over a quantity. */
  plane(spec) {
    const width = this.width, labelled = spec.labels && width >= NARROW;
    const room = labelled ? Math.min(200, 30 + CHARACTER * Math.max(...spec.lines.map((line) => line.name.length))) : 12;
    const needed = labelled ? LABEL_HEIGHT * spec.lines.length + 70 : 0;
    const height = Math.max(width < NARROW ? 320 : 420, Math.min(needed, 900));
    const strip = spec.lines.some((line) => line.points.some((point) => point.strip)) ? 74 : 0;
    const [left, right, top, bottom] = [58, width - room, 14, height - 48];
    const points = spec.lines.flatMap((line) => line.points);
    const across = points.filter((point) => !point.strip);
    const x = axis({ ...spec.x, values: across.length ? across.map((point) => point.x) : [1], start: left + strip + 10, end: right - 8, apart: 54 });
    const references = spec.references.map((each) => each.value);
    const y = axis({ ...spec.y, values: [...points.map((point) => point.y), ...this.ends(spec, points, spec.y), ...references], start: bottom - 4, end: top + 4, apart: 26 });
    const clip = `clip${Chart.count++}`;
    const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "presentation" },
      drawn("clipPath", { id: clip }, drawn("rect", { x: left, y: top - 6, width: right - left, height: bottom - top + 12 })));
    for (const { value, place } of y.ticks) svg.append(
      drawn("path", { class: "grid", d: `M${left},${place}H${right}` }),
      drawn("text", { class: "tick", x: left - 8, y: place + 4, "text-anchor": "end" }, spec.y.write(value)));
    if (across.length) for (const { value, place } of x.ticks) svg.append(
      drawn("path", { class: "grid", d: `M${place},${top}V${bottom}` }),
      drawn("text", { class: "tick", x: place, y: bottom + 18, "text-anchor": "middle" }, spec.x.write(value)));
    if (strip) svg.append(
      drawn("rect", { class: "strip", x: left, y: top, width: strip, height: bottom - top }),
      drawn("text", { class: "tick", x: left + strip / 2, y: bottom + 18, "text-anchor": "middle" }, "no verdict"));
    for (const place of spec.breaks || []) svg.append(drawn("path", { class: "break", d: `M${x.at(place)},${top}V${bottom}` }));
    svg.append(drawn("path", { class: "frame", d: `M${left},${top}V${bottom}H${right}` }),
      drawn("text", { class: "axis", x: (left + right) / 2, y: height - 8, "text-anchor": "middle" }, spec.x.title),
      drawn("text", { class: "axis", x: 0, y: 0, "text-anchor": "middle", transform: `translate(13,${(top + bottom) / 2}) rotate(-90)` }, spec.y.title));
    for (const { value, text } of spec.references) svg.append(
      drawn("path", { class: "dense", d: `M${left},${y.at(value)}H${right}` }),
      drawn("text", { class: "tick halo", x: left + strip + 6, y: y.at(value) - 5 }, text));
    const labels = [];
    for (const line of spec.lines) {
      const placed = line.points.map((point, n) => ({ point, line, x: point.strip ? left + strip / 2 + 9 * ((n % 3) - 1) : x.at(point.x), y: y.at(point.y) }));
      if (!placed.length) continue;
      const group = drawn("g", { class: "line", style: { "--colour": line.look.colour } });
      const body = drawn("g", { "clip-path": `url(#${clip})` });
      const through = placed.filter((each) => !each.point.strip).sort((a, b) => a.x - b.x);
      if (spec.intervals !== "none") this.intervals(body, through, y, spec.intervals);
      if (through.length > 1) body.append(drawn("path", { class: "stroke", d: `M${through.map((each) => `${each.x.toFixed(1)},${each.y.toFixed(1)}`).join("L")}`, "stroke-dasharray": line.look.dash || null }));
      if (spec.markers !== false) for (const each of placed) body.append(this.marker(line, each.x, each.y));
      group.append(body);
      svg.append(group);
      this.groups.set(line.key, [group]);
      this.marks.push(...(through.length ? [...through, ...placed.filter((each) => each.point.strip)] : placed));
      labels.push({ line, from: through.at(-1) || placed[0] });
    }
    if (labelled) this.labels(svg, labels, right, top, bottom);
    return svg;
  }

  /** A row for each line, with its points along a quantity. */
  rows(spec) {
    const width = this.width, step = spec.lines.length > 24 ? 19 : 24;
    const lines = spec.lines.filter((line) => line.points.length);
    const longest = CHARACTER * Math.max(...lines.map((line) => line.name.length)) + 16;
    const left = Math.min(longest, width * (width < NARROW ? 0.42 : 0.34)), right = width - 14;
    const top = 26, bottom = top + step * lines.length + 6, height = bottom + 48;
    const points = lines.flatMap((line) => line.points);
    const references = spec.references.map((each) => each.value);
    const x = axis({ ...spec.x, values: [...points.map((point) => point.x), ...points.flatMap((point) => point.seeds), ...this.ends(spec, points, spec.x), ...references], start: left + 8, end: right - 4, apart: 46 });
    const clip = `clip${Chart.count++}`;
    const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "presentation" },
      drawn("clipPath", { id: clip }, drawn("rect", { x: left, y: 0, width: right - left, height })));
    for (const { value, place } of x.ticks) svg.append(
      drawn("path", { class: "grid", d: `M${place},${top - 4}V${bottom}` }),
      drawn("text", { class: "tick", x: place, y: bottom + 18, "text-anchor": "middle" }, spec.x.write(value)));
    svg.append(drawn("text", { class: "axis", x: (left + right) / 2, y: height - 8, "text-anchor": "middle" }, spec.x.title));
    for (const { value, text } of spec.references) svg.append(
      drawn("path", { class: "dense", d: `M${x.at(value)},${top - 6}V${bottom}` }),
      drawn("text", { class: "tick", x: Math.min(x.at(value), right), y: top - 11, "text-anchor": x.at(value) > (left + right) / 2 ? "end" : "start" }, text));
    lines.forEach((line, number) => {
      const y = top + step * (number + 0.5);
      const group = drawn("g", { class: "line", style: { "--colour": line.look.colour } },
        drawn("rect", { class: "row", x: 0, y: y - step / 2, width, height: step }),
        drawn("text", { class: "label", x: left - 8, y: y + 4, "text-anchor": "end" }, shortened(line.name, left - 12)));
      const body = drawn("g", { "clip-path": `url(#${clip})` });
      for (const point of line.points) {
        if (spec.intervals !== "none" && point.low !== null) body.append(drawn("path", { class: "bar", d: `M${x.at(point.low)},${y}H${x.at(point.high)}M${x.at(point.low)},${y - 4}v8M${x.at(point.high)},${y - 4}v8` }));
        for (const seed of point.seeds) body.append(drawn("circle", { class: "seed", cx: x.at(seed), cy: y, r: 2 }));
        body.append(this.marker(line, x.at(point.x), y));
        this.marks.push({ point, line, x: x.at(point.x), y, row: step });
      }
      group.append(body);
      svg.append(group);
      this.groups.set(line.key, [group]);
    });
    return svg;
  }

  /** The ends of intervals for which an axis has room: those that there can be on it. */
  ends(spec, points, { kind, scale }) {
    if (spec.intervals === "none") return [];
    const can = (value) => Number.isFinite(value) && !(kind === "percent" && (value < 0 || value > 1)) && !(scale === "log" && value <= 0);
    return points.flatMap((point) => [point.low, point.high]).filter(can);
  }

  marker(line, x, y) {
    return drawn("path", { class: line.look.filled ? "marker" : "marker hollow", d: outline(line.look.marker, 4.2), transform: `translate(${x.toFixed(1)},${y.toFixed(1)})` });
  }

  intervals(group, placed, y, kind) {
    const known = placed.filter((each) => each.point.low !== null && each.point.low !== undefined);
    if (kind === "band" && known.length > 1) {
      const upper = known.map((each) => `${each.x.toFixed(1)},${y.at(each.point.high).toFixed(1)}`);
      const lower = known.map((each) => `${each.x.toFixed(1)},${y.at(each.point.low).toFixed(1)}`).reverse();
      group.append(drawn("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` }));
    } else for (const each of known) {
      const low = y.at(each.point.low), high = y.at(each.point.high);
      group.append(drawn("path", { class: "bar", d: `M${each.x},${low}V${high}M${each.x - 4},${low}h8M${each.x - 4},${high}h8` }));
    }
  }

  /** Names at the ends of lines, moved apart where they would cover each other. */
  labels(svg, labels, right, top, bottom) {
    labels.sort((a, b) => a.from.y - b.from.y);
    const step = Math.min(LABEL_HEIGHT, (bottom - top + 30) / labels.length);
    if (step < 9) return;
    let last = top - 8 - step;
    for (const label of labels) last = label.y = Math.max(label.from.y, last + step);
    let limit = bottom + 10;
    for (const label of [...labels].reverse()) limit = (label.y = Math.min(label.y, limit)) - step;
    for (const { line, from, y } of labels) {
      const text = drawn("text", { class: "label", x: right + 16, y: y + 4, style: { "--colour": line.look.colour } }, shortened(line.name, 176));
      const lead = drawn("path", { class: "lead", d: `M${from.x + 6},${from.y}L${Math.max(right, from.x + 6)},${(from.x + 6 >= right ? from.y : y).toFixed(1)}L${right + 13},${y}`, style: { "--colour": line.look.colour } });
      this.groups.get(line.key).push(text, lead);
      text.addEventListener("pointerenter", () => this.light(line.key, true));
      svg.append(lead, text);
    }
  }

  /** Bring out a line, and dim all others. */
  light(key, tell = false) {
    this.lit = key;
    if (!this.groups) return;
    for (const [each, nodes] of this.groups) for (const node of nodes) {
      node.classList.toggle("lit", each === key);
      node.classList.toggle("dim", key !== null && each !== key);
    }
    if (tell && this.spec.onlight) this.spec.onlight(key);
  }

  point(event) {
    const box = this.figure.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1, least = 42 ** 2;
    this.marks.forEach((mark, number) => {
      const distance = mark.row ? (Math.abs(mark.y - y) <= mark.row / 2 ? (mark.x - x) ** 2 / 1e6 : Infinity) : (mark.x - x) ** 2 + (mark.y - y) ** 2;
      if (distance < least) [best, least] = [number, distance];
    });
    if (best >= 0) this.choose(best);
    else if (event.type === "pointermove" && event.target.closest && !event.target.closest(".label")) this.leave();
  }

  leave() {
    if (this.current < 0 && this.lit === null) return;
    this.current = -1;
    this.tip.hidden = true;
    this.light(null, true);
  }

  key(event) {
    if (!this.marks.length) return;
    const along = { ArrowRight: 1, ArrowLeft: -1 }[event.key], between = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") this.leave();
    else if (this.current < 0 && (along || between)) this.choose(0, true);
    else if (event.key === "Home") this.choose(0, true);
    else if (event.key === "End") this.choose(this.marks.length - 1, true);
    else if (along) this.choose((this.current + along + this.marks.length) % this.marks.length, true);
    else if (between) this.choose(this.neighbour(between), true);
    else return;
    event.preventDefault();
  }

  /** The point of the next line, as near as can be. */
  neighbour(step) {
    const lines = [...new Set(this.marks.map((mark) => mark.line))], here = this.marks[this.current];
    const line = lines[(lines.indexOf(here.line) + step + lines.length) % lines.length];
    const own = this.marks.map((mark, number) => ({ mark, number })).filter(({ mark }) => mark.line === line);
    own.sort((a, b) => Math.abs(a.mark.x - here.x) - Math.abs(b.mark.x - here.x));
    return own[0].number;
  }

  choose(number, aloud = false) {
    if (number !== this.current) {
      this.current = number;
      const { line, point } = this.marks[number];
      const { title, lines } = this.spec.describe(line, point);
      this.tip.replaceChildren(element("strong", {}, title), ...lines.map((text) => element("div", {}, text)));
      if (aloud) this.said.textContent = [title, ...lines].join(", ");
      this.light(line.key, true);
    }
    const { x, y } = this.marks[number];
    this.tip.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = this.tip;
    const left = x + 16 + width > this.width ? x - 16 - width : x + 16;
    this.tip.style.left = `${Math.max(0, Math.min(left, this.width - width))}px`;
    this.tip.style.top = `${Math.max(-8, Math.min(y - height / 2, this.figure.clientHeight - height))}px`;
  }
}
Chart.count = 0;
