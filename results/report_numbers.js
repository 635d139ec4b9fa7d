/* The table of all numbers, and tables that are sorted by a click. */

const CHUNK = 150;

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
    sortable(heads, this.columns, (compare) => { this.rows.sort(compare); this.show(); });
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
      const signed = (row) => {
        const [, size] = writtenWith(metric, mean(row), Math.abs(change(row)));
        return (Number(size) === 0 ? "" : change(row) > 0 ? "+" : "−") + size;
      };
      const other = { title: "Change", value: change, text: (row) => (change(row) === null ? NOTHING : signed(row)), up: !metric.higher };
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

/** Put a button into each head that sorts by its column; the better values come first. */
function sortable(heads, columns, sort) {
  heads.forEach((head, place) => {
    const button = element("button", { type: "button", class: "sort" }, ...head.childNodes);
    head.append(button);
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
