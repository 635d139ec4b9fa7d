/* What single runs tell: the density of each layer, weights before and after, curves of training. */

const BEFORE_AND_AFTER = [
  { name: "unpruned", class: "of-dense" },
  { name: "straight after the last pruning", class: "of-pruned" },
  { name: "at the end", class: "of-recovered" },
];

/** A drop-down list with its label; `choices` are texts by value. */
function choice(title, choices, chosen, onchange) {
  const select = element("select", { "aria-label": title, onchange: () => onchange(select.value) },
    ...choices.map(([value, text]) => element("option", { value, selected: String(value) === String(chosen) }, text)));
  return element("label", { class: "choice" }, element("span", {}, title), select);
}

/** The panels of a section for which there are runs, drawn when they are opened. */
class Details {
  constructor(section, host, runs) {
    this.section = section;
    this.runs = runs;
    this.target = section.targets.at(-1);
    this.panels = [];
    if (runs.densities) this.panel(host, "What is left of each layer", () => this.densities());
    if (runs.histograms) this.panel(host, "Weights before and after pruning", () => this.histograms());
    if (runs.curves) this.panel(host, "Curves of training", () => this.curves());
  }

  panel(host, title, make) {
    const body = element("div"), details = element("details", {}, element("summary", {}, title), body);
    const update = () => { if (details.open) body.replaceChildren(...make()); };
    details.addEventListener("toggle", update);
    this.panels.push(update);
    host.append(details);
  }

  /** Draw again what is open: other strategies are shown. */
  update() {
    for (const update of this.panels) update();
  }

  targetChoice(redraw) {
    const targets = this.section.targets;
    if (targets.length < 2) return null;
    return choice("Target", targets.map((each) => [each, each]), this.target, (value) => { this.target = value; redraw(); });
  }

  /** The rows at the chosen target whose strategies are shown. */
  rows() {
    return this.section.rows.filter((row) => row.target === this.target && this.section.passes(row));
  }

  densities() {
    const { layers, densities } = this.runs;
    const rows = this.rows().filter((row) => densities[row.number]);
    const head = element("tr", {}, element("th", { scope: "col" }, "Strategy"),
      ...layers.map((layer) => element("th", { scope: "col" }, ...breakable(layer.name), element("small", {}, `${layer.weights.toLocaleString("en")} weights`))));
    const body = rows.map((row) => element("tr", {}, element("th", { scope: "row" }, ...breakable(row.name)),
      ...densities[row.number].map((density) => density === null ? element("td", {}, "—")
        : element("td", { style: { "--share": `${(100 * Math.sqrt(density)).toFixed(1)}%` } }, percent(density)))));
    const heading = "Density of each layer: percent of its weights that are not zero, mean over seeds";
    return [
      element("div", { class: "controls" }, this.targetChoice(() => this.update())),
      element("p", { class: "note" }, `${heading}. The stronger the colour, the denser.`),
      element("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": heading },
        element("table", { class: "heat" }, element("thead", {}, head), element("tbody", {}, ...body))),
    ];
  }

  histograms() {
    const known = this.section.rows.filter((row) => Object.keys(this.runs.histograms[row.number] || {}).length);
    const shown = known.filter((row) => this.section.passes(row));
    const rows = shown.length ? shown : known;
    const row = rows.find((each) => each.number === this.chosenRow) || rows.find((each) => each.target === this.target) || rows[0];
    const layers = Object.keys(this.runs.histograms[row.number]);
    const layer = layers.includes(this.chosenLayer) ? this.chosenLayer : layers[0];
    const redraw = () => this.update();
    const host = element("div", { class: "chart" });
    queueMicrotask(() => this.histogram(host, row, layer));
    return [
      element("div", { class: "controls" },
        choice("Strategy and target", rows.map((each) => [each.number, `${each.name}, ${each.target}`]), row.number, (value) => { this.chosenRow = Number(value); redraw(); }),
        choice("Layer", layers.map((each) => [each, each]), layer, (value) => { this.chosenLayer = value; redraw(); })),
      element("ul", { class: "keys" }, ...BEFORE_AND_AFTER.map((each) => element("li", { class: each.class }, each.name))),
      host,
      element("p", { class: "note" }, "Weights that are not zero, in bins of equal width, of the first seed; counts on a logarithmic scale."),
    ];
  }

  histogram(host, row, layer) {
    const [limit, ...places] = this.runs.histograms[row.number][layer];
    const series = places.map((place) => (place === null ? null : this.runs.counts[place]));
    const bins = series[2].length, edge = (bin) => limit * ((2 * bin) / bins - 1);
    const shape = (width) => {
      const height = 260, left = 58, right = width - 12, top = 12, bottom = height - 44;
      const most = Math.log1p(Math.max(...series.flatMap((each) => each || [0])));
      const at = (bin) => left + ((right - left) * bin) / bins;
      const up = (count) => bottom - ((bottom - top) * Math.log1p(count)) / most;
      const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "presentation" });
      for (let count = 1; Math.log1p(count) <= most; count *= 10) svg.append(
        drawn("path", { class: "grid", d: `M${left},${up(count)}H${right}` }),
        drawn("text", { class: "tick", x: left - 8, y: up(count) + 4, "text-anchor": "end" }, count.toLocaleString("en")));
      for (const value of evenly(-limit, limit)) svg.append(
        drawn("text", { class: "tick", x: left + ((right - left) * (value / limit + 1)) / 2, y: bottom + 18, "text-anchor": "middle" }, String(value)));
      svg.append(drawn("text", { class: "axis", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, "Weight"),
        drawn("text", { class: "axis", "text-anchor": "middle", transform: `translate(13,${(top + bottom) / 2}) rotate(-90)` }, "Weights in a bin"));
      series.forEach((counts, n) => {
        if (!counts) return;
        const steps = counts.map((count, bin) => `L${at(bin).toFixed(1)},${up(count).toFixed(1)}H${at(bin + 1).toFixed(1)}`).join("");
        svg.append(drawn("path", { class: `stairs ${BEFORE_AND_AFTER[n].class}`, d: `M${left},${bottom}${steps}V${bottom}` }));
      });
      svg.append(drawn("path", { class: "frame", d: `M${left},${top}V${bottom}H${right}` }));
      return { svg, at };
    };
    new Steps(host, {
      name: `Histogram of ${layer}, ${row.name} at ${row.target}`, bins, shape,
      describe: (bin) => ({
        title: `${edge(bin).toPrecision(3)} to ${edge(bin + 1).toPrecision(3)}`,
        lines: series.map((counts, n) => counts && `${counts[bin].toLocaleString("en")} ${BEFORE_AND_AFTER[n].name}`).filter(Boolean),
      }),
    });
  }

  curves() {
    const { curves, trainings, quality } = this.runs;
    const metric = this.section.qualities.find((each) => each.name === quality);
    const what = this.curve || "quality";
    const kind = what === "quality" && metric.factor === 100 ? "percent" : "number";
    const host = element("div", { class: "chart" });
    const write = (value) => (kind === "percent" ? String(Number((100 * value).toPrecision(4))) : String(Number(value.toPrecision(4))));
    const title = what === "quality" ? `${heading(metric)} in validation` : "Training loss";
    const chart = new Chart(host, () => {
      const breaks = new Set();
      const lines = this.rows().filter((row) => this.section.isDrawn(row)).map((row) => {
        const points = [];
        for (const place of curves[row.number] || []) {
          const { training, loss, quality: values } = trainings[place];
          if (points.length) breaks.add(points.length + 0.5);
          (what === "loss" ? loss : values).forEach((value, epoch) => points.push({ x: points.length + 1, y: value, training, epoch: epoch + 1 }));
        }
        return { key: row.method, name: row.name, look: row.look, points: points.filter((point) => point.y !== null) };
      });
      return {
        name: title, lines, references: [], intervals: "none", labels: true, breaks: [...breaks], markers: lines.length < 4,
        x: { title: "Epochs of training", scale: "linear", kind: "count", write: String },
        y: { title, scale: kind === "number" && lines.every((line) => line.points.every((point) => point.y > 0)) ? "log" : "linear", kind, write },
        describe: (line, point) => ({ title: line.name, lines: [`${title}: ${write(point.y)}`, `${point.training}, epoch ${point.epoch}`] }),
      };
    });
    queueMicrotask(() => chart.draw());
    const redraw = () => this.update();
    return [
      element("div", { class: "controls" }, this.targetChoice(redraw),
        choice("Curve", [["quality", `${heading(metric)} in validation`], ["loss", "Training loss"]], what, (value) => { this.curve = value; redraw(); })),
      host,
      element("p", { class: "note" }, "Of the first seed. A vertical line is where pruning ends a training. What is drawn is chosen in the legend of the chart above."),
    ];
  }
}

/** A histogram that pointer and arrow keys go through bin by bin. */
class Steps extends Chart {
  constructor(host, { name, bins, shape, describe }) {
    super(host, () => ({}));
    this.figure.setAttribute("aria-label", `${name}. Arrow keys go through the bins.`);
    this.draw = () => {
      this.width = this.figure.clientWidth;
      if (!this.width) return;
      const { svg, at } = shape(this.width);
      this.groups = new Map();
      this.spec = { describe: (_, point) => describe(point.bin) };
      const line = {};
      this.marks = Array.from({ length: bins }, (_, bin) => ({ line, point: { bin }, x: (at(bin) + at(bin + 1)) / 2, y: 60 }));
      this.figure.replaceChildren(svg, this.tip);
    };
    this.draw();
  }

  point(event) {
    const x = event.clientX - this.figure.getBoundingClientRect().left;
    const apart = this.marks.map((mark) => Math.abs(mark.x - x));
    this.choose(apart.indexOf(Math.min(...apart)));
  }
}
