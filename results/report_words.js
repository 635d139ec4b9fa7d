/* How numbers and names are written, in tables and beside charts. */

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

/** The mean and the spread of a row, or why there is none. */
function quality(metric, row) {
  const mean = row.cell(`${metric.name}_mean`), std = row.cell(`${metric.name}_std`), seeds = row.cell("seeds");
  const absent = row.cell("seeds_failed") + row.cell("seeds_missing");
  if (!seeds) return row.cell("seeds_failed") ? "failed" : NOTHING;
  if (mean === null) return "not finite";
  const marks = (row.cell("seeds_collapsed") ? "†" : "") + (absent ? ` (${seeds}/${seeds + absent})` : "");
  return written(metric, mean) + (std === null ? "" : ` ± ${written(metric, std)}`) + marks;
}
