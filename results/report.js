/* The page: a chart, sortable tables and panels for each comparison, and one filter for all. */

const CHUNK = 150;
const MOST_DRAWN = 60;
const FEW_LINES = 6;
const NOTHING = "—";

const heading = (metric) => (metric.unit ? `${metric.title} (${metric.unit})` : metric.title);
const percent = (share) => `${Number((100 * share).toPrecision(3))}`;
const significant = (value, digits) => String(Number(value.toPrecision(digits)));

/** A value of a metric as tables have it, and with all digits of the CSV file. */
const written = (metric, value) => (metric.factor === 100 ? (100 * value).toFixed(2) : significant(value, 4));
const exact = (metric, value) => significant(metric.factor * value, 6);

/** How numbers of an axis are written: beside it, in tables, and in full. */
const KINDS = {
  times: { scale: "log", tick: (v) => `${significant(v, 4)}×`, cell: (v) => `${v.toFixed(2)}×`, full: (v) => `${significant(v, 6)}×` },
  percent: { scale: "linear", tick: (v) => `${significant(100 * v, 4)} %`, cell: (v) => `${(100 * v).toFixed(2)} %`, full: (v) => `${significant(100 * v, 6)} %` },
  count: {
    scale: "log", tick: (v) => new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(v),
    cell: (v) => Math.round(v).toLocaleString("en"), full: (v) => v.toLocaleString("en", { maximumFractionDigits: 2 }),
  },
};

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
    this.numbers = new Numbers(this, node.querySelector(".numbers"));
    this.matrix();
    if (this.qualities.length) this.explorer(node.querySelector(".explorer"));
    if (runs) this.details = new Details(this, node.querySelector(".details"), runs);
  }

  /** The strategies that are drawn at first: all, or where those are too many to see the best. */
  best() {
    const metric = this.qualities[0], all = this.data.methods.map((_, method) => method);
    if (!metric || all.length <= MOST_DRAWN) return all;
    const value = new Map();
    for (const row of this.rows) {
      const mean = row.cell(`${metric.name}_mean`);
      if (mean !== null) value.set(row.method, (value.get(row.method) ?? 0) + mean);
    }
    return [...value.keys()].sort((a, b) => (metric.higher ? value.get(b) - value.get(a) : value.get(a) - value.get(b))).slice(0, MOST_DRAWN / 2);
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
    const passing = new Set(this.rows.filter((row) => this.passes(row)).map((row) => row.method));
    for (const line of this.lines) line.hidden = !passing.has(Number(line.dataset.method));
    for (const chip of this.chips ?? []) chip.hidden = !passing.has(Number(chip.dataset.method));
    this.numbers.show();
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
    sortable(heads, columns, (compare) => table.tBodies[0].append(...this.lines.sort(compare)), 0);
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
    const spread = this.metric.factor === 100 ? ["logit", "Logit"] : ["log", "Logarithmic"];
    const focused = document.activeElement?.closest("label")?.firstChild?.textContent;
    this.bar.replaceChildren(
      choice("Quality", this.qualities.map((metric, n) => [n, heading(metric)]), choices.quality, (value) => set("quality")(Number(value))),
      choice("Its scale", [["linear", "Linear"], spread], this.scale, set("scale")),
      choice("Against", axes, choices.x, set("x")),
      ...(choices.x === "rows" ? [] : [choice("Scale", [["linear", "Linear"], ["log", "Logarithmic"]], this.xScale, set("xScale"))]),
      choice("Intervals", [["std", "± standard deviation"], ["ci95", "95 % confidence"], ["none", "None"]], choices.intervals, set("intervals")));
    for (const label of this.bar.children) if (label.firstChild.textContent === focused) label.lastChild.focus();
  }

  get metric() {
    return this.qualities[this.choices.quality];
  }

  /** Fractions spread out towards 0 and 100; what grows as networks get worse on a logarithm. */
  get scale() {
    return this.choices.scale || (this.metric.factor === 100 ? "logit" : this.metric.higher ? "linear" : "log");
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
    this.chips = this.data.methods.map((method, number) => element("button", {
      type: "button", class: "chip", "data-method": number, tabindex: number === 0 ? 0 : -1,
      "aria-pressed": String(this.drawnMethods.has(number)),
      onclick: () => this.toggle(number), onpointerenter: () => this.chart.light(number), onpointerleave: () => this.chart.light(null),
      onfocus: () => this.chart.light(number), onblur: () => this.chart.light(null),
    }, swatch(method), method.name));
    const all = (wanted) => () => {
      this.drawnMethods = new Set(wanted ? this.data.methods.keys() : []);
      this.redrawn();
    };
    const chips = element("div", { class: "chips", role: "toolbar", "aria-label": "Strategies that are drawn" }, ...this.chips);
    chips.addEventListener("keydown", (event) => roving(event, this.chips.filter((chip) => !chip.hidden)));
    return element("div", { class: "legendary" }, element("div", { class: "some" },
      element("button", { type: "button", onclick: all(true) }, "All"),
      element("button", { type: "button", onclick: all(false) }, "None"),
      (this.drawnNote = element("span", { class: "note" }))), chips);
  }

  toggle(method) {
    if (!this.drawnMethods.delete(method)) this.drawnMethods.add(method);
    this.redrawn();
    this.chart.light(this.drawnMethods.has(method) ? method : null);
  }

  redrawn() {
    for (const chip of this.chips) chip.setAttribute("aria-pressed", String(this.drawnMethods.has(Number(chip.dataset.method))));
    this.drawnNote.textContent = `${this.drawnMethods.size} of ${this.chips.length} strategies are drawn`;
    this.chart.draw();
    this.details?.update();
  }

  /** Bring out the chip and the line of the table of a strategy that the chart brings out. */
  emphasise(key) {
    for (const node of [...this.chips, ...this.lines]) node.classList.toggle("lit", Number(node.dataset.method) === key);
  }
}

/** A name that may be broken where a word of it begins, or an argument. */
function breakable(name) {
  const parts = name.split(/(?<=[a-z0-9])(?=[A-Z])|(?<=[/:,=])|(?=[.(])/);
  return parts.flatMap((part, place) => (place ? [element("wbr"), part] : [part]));
}

/** A cell of an axis: its number with its interval, or that there is no verdict, with the reason. */
function measured(axis, row, how = "cell") {
  const write = KINDS[axis.kind][how], value = row.cell(axis.column), doubt = row.cell(`${axis.column}_doubt`);
  if (value === null) return doubt === null ? NOTHING : `no verdict: ${doubt}`;
  const low = row.cell(`${axis.column}_low`), high = row.cell(`${axis.column}_high`);
  return low === null ? write(value) : `${write(value)} (${low.toFixed(2)}–${high.toFixed(2)})`;
}

/** Every number of a comparison, a line for each strategy and target, as many as are looked at. */
class Numbers {
  constructor(section, host) {
    this.section = section;
    this.columns = [...this.names(), ...this.ofQuality(), ...this.ofAxes()];
    this.rows = [...section.rows];
    this.count = element("p", { class: "note", role: "status" });
    const heads = this.columns.map((column) => element("th", { scope: "col" }, column.title));
    this.body = element("tbody");
    this.scroll = element("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "All numbers" },
      element("table", { class: "all" }, element("thead", {}, element("tr", {}, ...heads)), this.body));
    this.scroll.addEventListener("scroll", () => {
      if (this.scroll.scrollTop + 2 * this.scroll.clientHeight > this.scroll.scrollHeight) this.more();
    }, { passive: true });
    host.append(this.count, this.scroll);
    sortable(heads, this.columns, (compare) => { this.rows.sort(compare); this.show(); }, 0);
    this.show();
  }

  names() {
    const place = new Map(this.section.targets.map((target, n) => [target, n]));
    return [
      { title: "Strategy", value: (row) => row.name, text: (row) => row.name, up: true, head: true },
      { title: "Target", value: (row) => place.get(row.target), text: (row) => row.target, up: true },
    ];
  }

  ofQuality() {
    return this.section.qualities.flatMap((metric, n) => {
      const mean = (row) => row.cell(`${metric.name}_mean`), change = (row) => row.cell(`${metric.name}_change_mean`);
      const own = { title: heading(metric), value: mean, text: (row) => quality(metric, row), up: !metric.higher };
      const sign = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + written(metric, Math.abs(value));
      const other = { title: "Change", value: change, text: (row) => (change(row) === null ? NOTHING : sign(change(row))), up: !metric.higher };
      return n === 0 ? [own, other] : [own];
    });
  }

  ofAxes() {
    return this.section.data.axes.map((axis) => ({
      title: axis.title, value: (row) => row.cell(axis.column), text: (row) => measured(axis, row), up: axis.column.includes("bytes") || axis.column === "nonzero_mean",
    }));
  }

  show() {
    this.shown = this.rows.filter((row) => this.section.passes(row));
    this.done = 0;
    this.body.replaceChildren();
    this.scroll.scrollTop = 0;
    const [some, all] = [this.shown.length, this.rows.length].map((count) => count.toLocaleString("en"));
    this.count.textContent = some === all ? `${all} rows` : `${some} of ${all} rows`;
    this.more();
  }

  more() {
    const next = this.shown.slice(this.done, this.done + CHUNK);
    this.done += next.length;
    this.body.append(...next.map((row) => element("tr", {}, ...this.columns.map((column) => this.cell(column, column.text(row))))));
  }

  cell(column, text) {
    if (column.head) return element("th", { scope: "row" }, ...breakable(text));
    const [verdict, reason] = text.split(/: (.*)/);
    if (!reason) return element("td", { class: text === "failed" ? "failed" : null }, text);
    return element("td", {}, element("span", { class: "doubt", tabindex: 0, title: reason }, verdict, element("small", {}, reason)));
  }
}

/** The mean and the spread of a row, or why there is none. */
function quality(metric, row) {
  const mean = row.cell(`${metric.name}_mean`), std = row.cell(`${metric.name}_std`), seeds = row.cell("seeds");
  const absent = row.cell("seeds_failed") + row.cell("seeds_missing");
  if (!seeds) return row.cell("seeds_failed") ? "failed" : NOTHING;
  if (mean === null) return "not finite";
  const marks = (row.cell("seeds_collapsed") ? "†" : "") + (absent ? ` (${seeds}/${seeds + absent})` : "");
  return written(metric, mean) + (std === null ? "" : ` ± ${written(metric, std)}`) + marks;
}

/** Put a button into each head that sorts by its column; the better values come first. */
function sortable(heads, columns, sort, sorted) {
  heads.forEach((head, place) => {
    const button = element("button", { type: "button", class: "sort" }, ...head.childNodes);
    head.append(button);
    if (place === sorted) head.setAttribute("aria-sort", "ascending");
    button.addEventListener("click", () => {
      const { value, up } = columns[place], now = head.getAttribute("aria-sort");
      const rising = now ? now !== "ascending" : up;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      sort((a, b) => compared(value(a), value(b), rising ? 1 : -1));
    });
  });
}

/** The order of two values; what is missing comes last whichever way. */
function compared(a, b, way) {
  if (a === null || b === null) return (a === null) - (b === null);
  return way * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
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

/** Sections are made when they come near to what is seen, or when a filter asks for their rows. */
function start() {
  const made = new Map();
  const parse = (node, name) => { const found = node.querySelector(`script.${name}`); return found && JSON.parse(found.textContent); };
  const filter = document.getElementById("filter"), found = document.getElementById("found");
  const words = () => filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const nodes = [...document.querySelectorAll("section.comparison")];
  const make = (node) => {
    if (made.has(node)) return;
    const section = new Section(node, parse(node, "data"), parse(node, "runs"));
    made.set(node, section);
    if (words().length) section.filter(words());
  };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); make(entry.target); }
  }, { rootMargin: "800px" });
  nodes.forEach((node) => near.observe(node));
  const index = new Map(nodes.map((node) => [node, null]));
  const apply = () => {
    const asked = words();
    let count = 0;
    for (const node of nodes) {
      if (asked.length && !index.get(node)) {
        const data = parse(node, "data");
        index.set(node, data.method.map((method, n) => `${data.title} ${data.conditions} ${data.methods[method].name} ${data.target[n]}`.toLowerCase()));
      }
      const passing = asked.length ? index.get(node).filter((text) => asked.every((word) => text.includes(word))).length : 0;
      node.hidden = asked.length > 0 && passing === 0;
      const entry = document.querySelector(`nav a[href="#${node.id}"]`);
      if (entry) entry.closest("li").hidden = node.hidden;
      count += passing;
      if (!node.hidden) made.get(node)?.filter(asked);
    }
    found.textContent = asked.length ? `${count.toLocaleString("en")} ${count === 1 ? "row" : "rows"}` : "";
  };
  let waiting = 0;
  filter.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(apply, 80); });
  filter.addEventListener("keydown", (event) => { if (event.key === "Escape") { filter.value = ""; apply(); } });
  themes(document.getElementById("theme"));
}

/** A button for the other of two themes, which the browser remembers. */
function themes(button) {
  const system = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
  const current = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const say = () => { button.textContent = current() === "dark" ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    try { localStorage.setItem("prunebench-theme", root.dataset.theme); } catch { /* For this time only. */ }
    say();
  });
  system.addEventListener("change", say);
  say();
}

if (document.getElementById("filter")) start();
