"""The report is one page that says what the frame says, to anybody, without anything else."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest

from prunebench.results import COLUMNS, as_text, leaderboard, write_csv
from prunebench.results.report import report

_VOID = {"meta", "br", "wbr", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """A page as its reader sees it: tables, text and attributes; every tag must be closed."""

    def __init__(self, path):
        super().__init__()
        self.open = []
        self.attributes = []
        self.tables = []
        self.words = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *attribute) for attribute in attributes]
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "small":
            self.tables[-1][-1][-1] += " | "

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, *attribute) for attribute in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "script"):
            return
        self.words += data.split()
        if self.tables and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data.replace("\u202f", " ").replace("\xa0", " ")

    @property
    def text(self):
        return " ".join(self.words)

    def cells(self, table, strategy):
        """The cells of a strategy's line in the table of this number."""
        (line,) = [line for line in self.tables[table] if line[0] == strategy]
        return line[1:]


@pytest.fixture
def page(tmp_path):
    """Write the report of some records and read it."""

    def make(records):
        report(leaderboard(records), tmp_path / "report.html")
        return Page(tmp_path / "report.html")

    return make


@pytest.mark.slow
def test_every_mean_of_quality_and_its_change_is_in_the_first_table(make_sweep, tmp_path):
    frame = leaderboard(make_sweep())
    report(frame, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert page.tables[0][0] == ["Strategy", "1×", "2×", "4×"]
    for strategy, rows in frame.groupby("strategy"):
        cells = page.cells(0, strategy)
        for cell, (_, row) in zip(cells, rows.iterrows(), strict=True):
            value, change = cell.split(" | ")
            mean, std = value.removesuffix(" best").split(" ± ")
            assert float(mean) == pytest.approx(100 * row["top1_mean"], abs=0.0051)
            assert float(std) == pytest.approx(100 * row["top1_std"], abs=0.0051)
            shown = float(change.replace("−", "-"))
            assert shown == pytest.approx(100 * row["top1_change_mean"], abs=0.0051)


@pytest.mark.slow
def test_every_mean_of_cost_is_in_the_second_table(make_sweep, tmp_path):
    timings = {"measured_speedup_batch1": 0.98, "measured_speedup_batch256": 1.07}
    frame = leaderboard(make_sweep(timings=timings))
    report(frame, tmp_path / "report.html")
    lines = [line[-6:] for line in Page(tmp_path / "report.html").tables[1][1:]]
    for line, (_, row) in zip(lines, frame.iterrows(), strict=True):
        _, compression, nonzero, theoretical, *measured = line
        assert compression == f"{row['compression_mean']:.2f}×"
        assert nonzero == f"{row['nonzero_mean']:,.0f}"
        assert theoretical == f"{row['theoretical_speedup_mean']:.2f}×"
        assert measured == ["0.98×", "1.07×"]


@pytest.mark.slow
def test_the_speedup_of_a_shrunk_network_stands_beside_that_of_the_masked_one(make_record, page):
    timings = {"measured_speedup_batch1": 1.0, "measured_speedup_batch1_shrunk": 1.834}
    assert page([make_record(timings=timings)]).tables[1][1][-1] == "1.00×, shrunk 1.83×"


@pytest.mark.slow
def test_a_speedup_stands_with_its_interval_or_with_the_doubt_in_its_place(make_record, page):
    timings = {
        "measured_speedup_batch1": 1.0,
        "measured_speedup_batch1_low": 0.981,
        "measured_speedup_batch1_high": 1.022,
        "measured_speedup_batch256": None,
    }
    doubts = {"measured_speedup_batch256": "other processes took 55 % of the processor"}
    assert page([make_record(timings=timings, doubts=doubts)]).tables[1][1][-2:] == [
        "1.00× (0.98–1.02)",
        "no verdict: other processes took 55 % of the processor",
    ]


@pytest.mark.slow
def test_speedups_that_nobody_measured_have_no_columns_and_those_of_a_row_are_dashes(
    make_record, page
):
    assert page([make_record()]).tables[1][0][-1].startswith("Theoretical")
    timings = {"latency_batch8_dense_ms": 3.0, "measured_speedup_batch8": 1.5}
    timed = make_record(timings=timings, compression=2.0)
    head, *rows = page([timed, make_record()]).tables[1]
    assert head[-1] == "Measured,batch 8"
    assert [row[-1] for row in rows] == ["1.50×", "—"]


def test_a_network_whose_flops_nobody_counted_has_no_column_of_them(make_record, page):
    final = {"theoretical_speedup": None, "effective_flops": None}
    made = page([make_record(final=final, dense={"flops": None})])
    assert made.tables[1][0][-1].startswith("Nonzero")
    assert "multiply–adds Pruned" not in made.text


@pytest.mark.slow
def test_the_reader_is_told_that_a_mask_makes_nothing_faster(make_sweep, page):
    assert "A mask alone makes nothing faster" in page(make_sweep()).text


@pytest.mark.slow
def test_the_settings_of_a_comparison_are_in_words(make_record, page):
    text = page([make_record(rounds=3, recovery="Rewind(epoch=2)")]).text
    assert "3 rounds on the Geometric schedule After each pruning Rewind(epoch=2)" in text
    assert "Pretraining 20 epochs" in text
    assert "1,000 parameters, 8,000 multiply–adds" in text
    assert "Repeated with 1 seed" in text
    assert "Top-1 accuracy (%), unpruned 99.00" in text


@pytest.mark.slow
@pytest.mark.parametrize("lower_is_better", [False, True])
def test_the_best_of_each_target_is_marked_whichever_way_is_better(
    make_record, page, lower_is_better
):
    quality = {"perplexity": "lower"} if lower_is_better else {"perplexity": "higher"}
    records = [
        make_record(
            strategy=strategy,
            compression=compression,
            quality=quality,
            final={"perplexity": value},
            dense={"perplexity": 5.0},
        )
        for strategy, values in (("First", (4.0, 5.0)), ("Second", (6.0, 5.0)))
        for compression, value in zip((2.0, 4.0), values, strict=True)
    ]
    read = page(records)
    best, other = ("First", "Second") if lower_is_better else ("Second", "First")
    assert "best" in read.cells(0, best)[0]
    assert "best" not in read.cells(0, other)[0]
    assert not any("best" in read.cells(0, name)[1] for name in (best, other)), "all are equal"


@pytest.mark.slow
def test_collapsed_missing_and_failed_are_marked_as_in_the_terminal(make_record, tmp_path):
    records = [
        make_record(strategy="Complete", compression=2.0, seed=0),
        make_record(strategy="Complete", compression=2.0, seed=1),
        make_record(strategy="Collapsed", compression=2.0, seed=0, status="collapsed"),
        make_record(strategy="Collapsed", compression=2.0, seed=1),
        make_record(strategy="PartlyFailed", compression=2.0, seed=0),
        make_record(strategy="PartlyFailed", compression=2.0, seed=1, status="failed"),
        make_record(strategy="WhollyFailed", compression=2.0, seed=0, status="failed"),
        make_record(strategy="Elsewhere", compression=4.0, seed=0),
    ]
    frame = leaderboard(records)
    report(frame, tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert page.cells(0, "Complete") == ["90.00 ± 0.00 | −9.00", "—"]
    assert page.cells(0, "Collapsed") == ["90.00 ± 0.00† | −9.00", "—"]
    assert page.cells(0, "PartlyFailed") == ["90.00 (1/2) | −9.00", "—"]
    assert page.cells(0, "WhollyFailed") == ["failed", "—"]
    assert page.cells(0, "Elsewhere") == ["—", "90.00 (1/2) | −9.00"]
    for explanation in as_text(frame).splitlines()[-4:]:
        assert explanation in page.text


@pytest.mark.slow
def test_markup_in_names_is_text(make_record, page, tmp_path):
    nasty = "mine.py:Mine(note='<script>alert(1)</script> & \"<b>\" --> $\\q$')"
    page = page([make_record(strategy=nasty, model="Net<i>", dataset="<!-- Data")])
    assert page.cells(0, nasty.removeprefix("mine.py:"))
    source = (tmp_path / "report.html").read_text()
    assert "Net<i> on <!-- Data" in page.text
    assert not re.search('<script>alert|<b>"|<i>|<!-- Data', source)


@pytest.mark.slow
def test_the_page_refers_to_nothing_outside_and_runs_nothing_but_its_own_scripts(
    make_sweep, page, tmp_path
):
    page = page(make_sweep() + make_sweep(dataset="KMNIST"))
    targets = [value for _, name, value in page.attributes if name.endswith(("href", "src"))]
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert targets
    assert all(target[0] == "#" and target[1:] in ids for target in targets)
    assert len(ids) == len(set(ids)), "two elements have the same id"
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    source = (tmp_path / "report.html").read_text()
    assert not re.search(
        r"@import|url\((?!#)|\bfetch\(|XMLHttpRequest|https?://(?!www\.w3\.org)", source
    )
    markup = re.sub(r"<script>.*?</script>", "", source, flags=re.DOTALL)
    assert set(re.findall(r"url\(#([^)]*)\)", markup)) <= set(ids)
    (policy,) = [
        value for _, name, value in page.attributes if str(value).startswith("default-src")
    ]
    scripts = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    digests = [
        base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts
    ]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}"


@pytest.mark.slow
def test_each_comparison_has_two_plots_that_say_what_they_are(make_sweep, page):
    page = page(make_sweep() + make_sweep(dataset="KMNIST"))
    names = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert [name.partition(":")[0] for name in names] == [
        "Top-1 accuracy (%) against compression of the whole network",
        "Top-1 accuracy (%) against theoretical speedup (flops)",
    ] * 2
    assert len(page.tables) == 6, "quality, costs and the checklist"


def test_all_columns_are_defined(make_sweep, page):
    text = page(make_sweep()).text
    for name, definition in COLUMNS.items():
        assert f"{name} {definition.replace('`', '')}" in re.sub(r" ([,.])", r"\1", text)


@pytest.mark.slow
def test_a_report_has_the_same_bytes_twice_and_from_csv(make_sweep, make_record, tmp_path):
    frame = leaderboard([*make_sweep(), make_record(dataset="KMNIST", status="failed")])
    write_csv(frame, tmp_path / "board.csv")
    report(frame, tmp_path / "first.html")
    report(frame, tmp_path / "second.html")
    report(pd.read_csv(tmp_path / "board.csv"), tmp_path / "csv.html")
    content = (tmp_path / "first.html").read_bytes()
    assert content == (tmp_path / "second.html").read_bytes()
    tables = Page(tmp_path / "first.html").tables
    assert Page(tmp_path / "csv.html").tables == tables


def test_a_comparison_in_which_all_failed_is_shown_without_plots(make_record, page):
    page = page([make_record(status="failed")])
    assert page.cells(0, "GlobalMagnitude") == ["failed"]
    assert "There is nothing to draw" in page.text


def test_a_leaderboard_without_records_says_so(page):
    assert "There are no records yet." in page([]).text


@pytest.mark.slow
def test_the_report_does_not_import_torch_nor_results_the_report():
    code = (
        "import sys, prunebench.results\n"
        "assert not {'jinja2', 'matplotlib'} & set(sys.modules)\n"
        "import prunebench.results.report\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
