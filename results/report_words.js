/* How numbers and names are written, in tables and beside charts. */

const NOTHING = "—";

const heading = (metric) => (metric.unit ? `${metric.title} (${metric.unit})` : metric.title);
const percent = (share) => `${Number((100 * share).toPrecision(3))}`;
const significant = (value, digits) => String(Number(value.toPrecision(digits)));

const HALF = `5${"0".repeat(24)}`;

/** A rounded number; what was halfway goes to the even digit, as in all other tables. */
const even = (text, halfway) => (halfway && Number(text.at(-1)) % 2 ? text.slice(0, -1) + (Number(text.at(-1)) - 1) : text);
const fixed = (value, places) => even(value.toFixed(places), value.toFixed(places + 25).endsWith(HALF));

/** The digits and the power of ten of a number that is rounded to four digits. */
function parts(value) {
  const [digits, ten] = value.toExponential(3).split("e"), [all] = value.toExponential(28).split("e");
  return [even(digits, all.endsWith(HALF)), Number(ten)];
}

/** A number to four digits, with a power of ten where all other tables have one. */
function short(value) {
  const [digits, ten] = parts(value);
  if (ten >= -4 && ten < 4) return String(Number(`${digits}e${ten}`));
  return `${Number(digits)}e${ten < 0 ? "-" : "+"}${String(Math.abs(ten)).padStart(2, "0")}`;
}

/** A value of a metric as tables have it, and with all digits of the CSV file. */
const written = (metric, value) => (metric.factor === 100 ? fixed(100 * value, 2) : short(value));
const exact = (metric, value) => significant(metric.factor * value, 6);

/** A value and one beside it, such as its spread, both to as many places after the point. */
function writtenWith(metric, value, spread) {
  const places = 3 - parts(value)[1];
  if (metric.factor === 100 || places < 0 || places > 6) return [written(metric, value), written(metric, spread)];
  return [fixed(value, places), fixed(spread, places)];
}

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
  return (std === null ? written(metric, mean) : writtenWith(metric, mean, std).join(" ± ")) + marks;
}
