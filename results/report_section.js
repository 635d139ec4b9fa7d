/* A comparison: its chart with legend and choices, its tables, and its panels. */

const MOST_DRAWN = 60;
const FEW_LINES = 6;

/** The rows of a comparison, each with its strategy, target and a way to its cells. */
function rowsOf(data) {
  return data.method.map((method, number) => ({
    number, method, name: data.methods[method].name, look: data.methods[method], target: data.target[number],
    cell: (column) => data.columns[column]?.[number] ?? null,
  }));
}

class Section {
  constructor(node, data, runs) {
    this.node = node;
    this.data = data;
    this.qualities = data.qualities;
    this.rows = rowsOf(data);
    this.targets = [...new Set(data.target)];
    this.words = [];
    this.drawnMethods = new Set(this.best());
    const host = node.querySelector(".numbers");
    onceNear(host, "200px", () => { this.numbers = new Numbers(this, host); });
    this.matrix();
    if (this.qualities.length) this.explorer(node.querySelector(".explorer"));
    requestAnimationFrame(() => requestIdleCallback(() => this.complete()));
    if (runs) this.details = new Details(this, node.querySelector(".details"), runs);
  }

  /** The strategies that are drawn at first: all, or where those are too many to see the best. */
  best() {
    const metric = this.qualities[0], all = this.data.methods.map((_, method) => method);
    if (!metric || all.length <= MOST_DRAWN) return all;
    const known = new Map(), sum = new Map();
    for (const row of this.rows) {
      const mean = row.cell(`${metric.name}_mean`);
      if (mean === null) continue;
      known.set(row.method, (known.get(row.method) ?? 0) + 1);
      sum.set(row.method, (sum.get(row.method) ?? 0) + (metric.higher ? -mean : mean));
    }
    // What lacks a target comes after all that do not: its mean is of other targets than theirs.
    const order = (a, b) => known.get(b) - known.get(a) || sum.get(a) - sum.get(b);
    return [...known.keys()].sort(order).slice(0, MOST_DRAWN / 2);
  }

  /** Add what few see at once, lines far down and chips, after what is made already is shown. */
  complete() {
    this.node.querySelector(".large")?.classList.add("complete");
    if (this.chips?.length < this.data.methods.length) this.toolbar.append(...this.chipsFrom(this.chips.length));
  }

  /** Whether a row has all words of the filter. */
  passes(row) {
    if (!this.words.length) return true;
    row.text ??= `${this.data.title} ${this.data.conditions} ${row.name} ${row.target}`.toLowerCase();
    return this.words.every((word) => row.text.includes(word));
  }

  isDrawn(row) {
    return this.drawnMethods.has(row.method);
  }

  filter(words) {
    this.words = words;
    this.complete();
    const passing = new Set(this.rows.filter((row) => this.passes(row)).map((row) => row.method));
    for (const line of this.lines) line.hidden = !passing.has(Number(line.dataset.method));
    for (const chip of this.chips ?? []) chip.hidden = !passing.has(Number(chip.dataset.method));
    this.numbers?.show();
    this.chart?.draw();
    this.details?.update();
  }

  /** The table of strategies × targets: its lines can be sorted by any column. */
  matrix() {
    const table = this.node.querySelector(".matrix"), metric = this.qualities[0];
    this.lines = [...table.tBodies[0].rows];
    this.lines.forEach((line, method) => {
      line.dataset.method = method;
      line.addEventListener("pointerenter", () => this.chart?.light(method));
      line.addEventListener("pointerleave", () => this.chart?.light(null));
    });
    const values = new Map(this.rows.map((row) => [`${row.method} ${row.target}`, metric ? row.cell(`${metric.name}_mean`) : null]));
    const heads = [...table.tHead.rows[0].cells];
    const columns = heads.map((_, place) => place === 0
      ? { value: (line) => this.data.methods[line.dataset.method].name, up: true }
      : { value: (line) => values.get(`${line.dataset.method} ${this.targets[place - 1]}`) ?? null, up: metric ? !metric.higher : true });
    sortable(heads, columns, (compare) => table.tBodies[0].append(...this.lines.sort(compare)));
  }

  explorer(host) {
    const first = this.targets.length === 1 ? "rows" : this.data.axes[0]?.column;
    this.choices = { x: first, quality: 0, scale: "", xScale: "", intervals: "std" };
    this.bar = element("div", { class: "controls" });
    const plot = element("div", { class: "chart" });
    host.append(this.bar, plot, this.legend());
    this.controls();
    this.chart = new Chart(plot, (width) => this.specification(width));
    this.chart.draw();
  }

  controls() {
    const { choices } = this, set = (name) => (value) => {
      choices[name] = value;
      if (name === "x") choices.xScale = "";
      if (name === "quality") choices.scale = "";
      this.controls();
      this.chart.draw();
    };
    const axes = this.data.axes.map((axis) => [axis.column, axis.title]);
    if (this.targets.length === 1) axes.unshift(["rows", "Strategies, best first"]);
    const spread = this.metric.factor === 100 ? [["logit", "Logit"]] : this.isPositive ? [["log", "Logarithmic"]] : [];
    const focused = document.activeElement?.closest("label")?.firstChild?.textContent;
    this.bar.replaceChildren(
      choice("Quality", this.qualities.map((metric, n) => [n, heading(metric)]), choices.quality, (value) => set("quality")(Number(value))),
      choice("Its scale", [["linear", "Linear"], ...spread], this.scale, set("scale")),
      choice("Against", axes, choices.x, set("x")),
      ...(choices.x === "rows" ? [] : [choice("Scale", [["linear", "Linear"], ["log", "Logarithmic"]], this.xScale, set("xScale"))]),
      choice("Intervals", [["std", "± standard deviation"], ["ci95", "95 % confidence"], ["none", "None"]], choices.intervals, set("intervals")));
    for (const label of this.bar.children) if (label.firstChild.textContent === focused) label.lastChild.focus();
  }

  get metric() {
    return this.qualities[this.choices.quality];
  }

  /** Whether all values of the metric have a logarithm. */
  get isPositive() {
    const { name, dense } = this.metric;
    return [dense, ...this.rows.map((row) => row.cell(`${name}_mean`))].every((value) => value === null || value > 0);
  }

  /** Fractions spread out towards 0 and 100; what grows as networks get worse on a logarithm, if there is one. */
  get scale() {
    return this.choices.scale || (this.metric.factor === 100 ? "logit" : this.metric.higher || !this.isPositive ? "linear" : "log");
  }

  get axis() {
    return this.data.axes.find((axis) => axis.column === this.choices.x);
  }

  get xScale() {
    return this.choices.xScale || KINDS[this.axis.kind].scale;
  }

  specification() {
    const { metric, choices } = this, inRows = choices.x === "rows";
    const shown = this.rows.filter((row) => this.isDrawn(row) && this.passes(row));
    const lines = [...Map.groupBy(shown, (row) => row.method)].map(([method, rows]) => ({
      key: method, name: rows[0].name, look: rows[0].look,
      points: rows.map((row) => (inRows ? this.inRow(row) : this.inPlane(row))).filter(Boolean),
    }));
    if (inRows) lines.sort((a, b) => (metric.higher ? -1 : 1) * ((a.points[0]?.x ?? NaN) - (b.points[0]?.x ?? NaN)) || 0);
    const kind = metric.factor === 100 ? "percent" : "number";
    const quality = { title: heading(metric), scale: this.scale, kind, write: (value) => exact(metric, value) };
    const dense = metric.dense === null ? [] : [{ value: metric.dense, text: `unpruned ${written(metric, metric.dense)}` }];
    const against = inRows ? "strategy" : this.axis.title.toLowerCase();
    return {
      name: `${heading(metric)} against ${against}: ${this.data.title}`, lines, references: dense, labels: true,
      intervals: choices.intervals === "none" || (!inRows && lines.length > 3 * FEW_LINES) ? "none" : lines.length > FEW_LINES || inRows ? "bar" : "band",
      x: inRows ? quality : { title: this.axis.title, scale: this.xScale, kind: this.axis.kind, write: KINDS[this.axis.kind].tick },
      y: inRows ? { rows: true } : quality,
      describe: (line, { row }) => ({ title: `${row.name} · ${row.target}`, lines: this.description(row) }),
      onlight: (key) => this.emphasise(key),
    };
  }

  /** A row as a point, with its interval; nothing where it has no such numbers. */
  interval(row) {
    const { name } = this.metric, mean = row.cell(`${name}_mean`);
    if (mean === null) return null;
    const std = row.cell(`${name}_std`);
    if (this.choices.intervals === "ci95") return { row, mean, low: row.cell(`${name}_ci95_low`), high: row.cell(`${name}_ci95_high`) };
    return { row, mean, low: std === null ? null : mean - std, high: std === null ? null : mean + std };
  }

  inRow(row) {
    const point = this.interval(row);
    const seeds = (row.cell(`${this.metric.name}_by_seed`) ?? "").split(" ").map(Number).filter(Number.isFinite);
    return point && { ...point, x: point.mean, seeds: seeds.length > 1 ? seeds : [] };
  }

  inPlane(row) {
    const point = this.interval(row), x = row.cell(this.axis.column);
    const strip = x === null && row.cell(`${this.axis.column}_doubt`) !== null;
    return point && (x !== null || strip) ? { ...point, x, y: point.mean, strip } : null;
  }

  /** All that the CSV file says of a point in the chart. */
  description(row) {
    const { metric } = this, at = (end) => row.cell(metric.name + end), full = (end) => exact(metric, at(end));
    const std = at("_std") === null ? "" : ` ± ${full("_std")}`;
    const seeds = row.cell("seeds");
    const lines = [`${heading(metric)}: ${full("_mean")}${std} (${seeds} ${seeds === 1 ? "seed" : "seeds"})`];
    if (at("_ci95_low") !== null) lines.push(`95 % interval ${full("_ci95_low")} to ${full("_ci95_high")}`);
    if (at("_change_mean") !== null) lines.push(`change from unpruned ${at("_change_mean") > 0 ? "+" : ""}${full("_change_mean")}`);
    if (at("_by_seed") && seeds > 1) lines.push(`seeds ${at("_by_seed").split(" ").map((value) => significant(metric.factor * Number(value), 6)).join(", ")}`);
    const axes = this.choices.x === "rows" ? this.data.axes.slice(0, 1) : [this.axis];
    for (const axis of axes) lines.push(`${axis.title}: ${measured(axis, row, "full")}`);
    if (row.cell("seeds_collapsed")) lines.push("† a layer lost all of its weights in at least one seed");
    return lines;
  }

  /** Chips that say what each look stands for, and choose what is drawn. */
  legend() {
    this.chips = [];
    const all = (wanted) => () => {
      this.drawnMethods = new Set(wanted ? this.data.methods.keys() : []);
      this.redrawn();
    };
    this.toolbar = element("div", { class: "chips", role: "toolbar", "aria-label": "Strategies that are drawn" }, ...this.chipsFrom(0, MOST_DRAWN));
    this.toolbar.addEventListener("keydown", (event) => roving(event, this.chips.filter((chip) => !chip.hidden)));
    return element("div", { class: "legendary" }, element("div", { class: "some" },
      element("button", { type: "button", onclick: all(true) }, "All"),
      element("button", { type: "button", onclick: all(false) }, "None"),
      (this.drawnNote = element("span", { class: "note" }))), this.toolbar);
  }

  /** The chips of some strategies, from one up to another. */
  chipsFrom(first, end) {
    const more = this.data.methods.slice(first, end).map((method, n) => this.chip(method, first + n));
    this.chips.push(...more);
    return more;
  }

  chip(method, number) {
    return element("button", {
      type: "button", class: "chip", "data-method": number, tabindex: number === 0 ? 0 : -1,
      "aria-pressed": String(this.drawnMethods.has(number)),
      onclick: () => this.toggle(number), onpointerenter: () => this.chart.light(number), onpointerleave: () => this.chart.light(null),
      onfocus: () => this.chart.light(number), onblur: () => this.chart.light(null),
    }, swatch(method), method.name);
  }

  toggle(method) {
    if (!this.drawnMethods.delete(method)) this.drawnMethods.add(method);
    this.redrawn();
    this.chart.light(this.drawnMethods.has(method) ? method : null);
  }

  redrawn() {
    for (const chip of this.chips) chip.setAttribute("aria-pressed", String(this.drawnMethods.has(Number(chip.dataset.method))));
    this.drawnNote.textContent = `${this.drawnMethods.size} of ${this.data.methods.length} strategies are drawn`;
    this.chart.draw();
    this.details?.update();
  }

  /** Bring out the chip and the line of the table of a strategy that the chart brings out. */
  emphasise(key) {
    for (const node of [...this.chips, ...this.lines]) node.classList.toggle("lit", Number(node.dataset.method) === key);
  }
}

/** Arrow keys go from one of several buttons to another. */
function roving(event, buttons) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step || !buttons.length) return;
  const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
  for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
  next.focus();
  event.preventDefault();
}
