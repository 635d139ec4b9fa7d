"""Tables and figures for papers: the numbers of the table, in every form it is asked for."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from prunebench.benchmark.command_line import main
from prunebench.results import as_text, leaderboard
from prunebench.results.drawing import FIGURE_FORMATS, save_figure
from prunebench.results.formats import FORMATS, as_html, as_latex, as_markdown
from prunebench.results.record_file import write_records

NOISE = (0.0, 0.0002, -0.0001)
HOSTILE = "Own(name='a_b & 50% #1 {x} | <b>$y$ ~^\\\\')"


@pytest.fixture
def frame(make_record):
    """One strategy is surely better at 2×, at 4× none is; one has a seed that failed."""
    records = [
        make_record(
            strategy=strategy,
            compression=compression,
            seed=seed,
            top1=0.89 + (0.05 * place if compression == 2 else 0) + NOISE[seed - place],
            status="failed" if (strategy, compression, seed) == (HOSTILE, 4, 2) else "ok",
        )
        for place, strategy in enumerate(["Random", HOSTILE, "Best"])
        for compression in (2, 4)
        for seed in (0, 1, 2)
    ]
    return leaderboard(records)


def numbers_in(text):
    return re.findall(r"\d+\.\d\d", text)


@pytest.mark.parametrize("write", [as_markdown, as_latex, as_html])
def test_the_cells_are_those_of_the_table_in_the_terminal(frame, write):
    table = [
        line for line in as_text(frame).splitlines() if line.startswith(("Own", "Ran", "Best"))
    ]
    shown = [
        line
        for line in write(frame).splitlines()
        if re.match(r"\s*(<tr><th scope=.row.>|\| )?(Own|Random|Best)", line)
    ]
    assert [numbers_in(line) for line in table] == [numbers_in(line) for line in shown]
    assert sum(map(len, map(numbers_in, table))) == 12


@pytest.mark.parametrize(
    ("write", "bold"),
    [
        (as_markdown, r"\*\*(\d\d\.\d\d)\*\*"),
        (as_latex, r"\\mathbf\{(\d\d\.\d\d)\}"),
        (as_html, r"<strong>(\d\d\.\d\d)</strong>"),
    ],
)
def test_only_what_is_surely_the_best_is_bold(frame, write, bold):
    assert re.findall(bold, write(frame)) == ["99.00"]
    assert "surely better than all others" in write(frame)


def test_where_lower_is_better_the_lowest_is_bold(make_sweep):
    for better, best in (("higher", "GlobalMagnitude"), ("lower", "Random")):
        records = make_sweep(quality={"top1": better, "loss": "lower"}, compressions=(2,))
        for place, record in enumerate(records):
            records[place] = record.model_copy(
                update={
                    "final": {
                        **record.final,
                        "top1": record.final["top1"] + NOISE[(place + place // 3) % 3],
                    }
                }
            )
        assert re.findall(r"(\w+) & \$\\mathbf", as_latex(leaderboard(records))) == [best]


def test_large_and_small_numbers_have_powers_of_ten_in_latex(make_record):
    for factor, shown in (
        (1e6, r"$2.5 \times 10^{6} \pm 7.071 \times 10^{5}$"),
        (1e-5, r"$2.5 \times 10^{-5} \pm 7.071 \times 10^{-6}$"),
    ):
        records = [
            make_record(seed=seed, quality={"perplexity": "lower"},
                        final={"perplexity": factor * (2 + seed)}, dense={"perplexity": 1.0})
            for seed in (0, 1)
        ]  # fmt: skip
        assert shown in as_latex(leaderboard(records))


def test_of_one_seed_nothing_is_bold(make_sweep):
    frame = leaderboard(make_sweep(seeds=(0,)))
    assert "mathbf" not in as_latex(frame)
    assert "<strong>" not in as_html(frame)


def test_latex_is_balanced_and_escapes_all_that_it_would_obey(frame):
    latex = as_latex(frame)
    assert r"Own(name='a\_b \& 50\% \#1 \{x\}" in latex
    assert (
        r"\textbar{} \textless{}b\textgreater{}\$y\$ \textasciitilde{}\textasciicircum{}" in latex
    )
    assert latex.count(r"\begin{tabular}{lrr}") == latex.count(r"\end{tabular}") == 1
    bare = re.sub(r"\\[\\{}$&%#_]", "", latex)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    rows = [line for line in bare.splitlines() if " & " in line]
    assert [line.count("&") for line in rows] == [2] * 4
    assert latex.isascii()


def test_each_latex_table_has_a_label_of_its_own(make_sweep):
    records = [*make_sweep(compressions=(2,)), *make_sweep(compressions=(2,), model="LeNetSmall")]
    latex = as_latex(leaderboard(records))
    assert re.findall(r"\\label\{(.*)\}", latex) == ["tab:prunebench-1", "tab:prunebench-2"]
    assert latex.count(r"\begin{table}") == 2


def test_a_name_in_brackets_is_no_argument_of_the_line_break_before_it(make_sweep):
    records = make_sweep(strategies=["[A]", "Random"], compressions=(2,))
    assert re.search(r"^ +\{\[\}A\{\]\} & ", as_latex(leaderboard(records)), re.MULTILINE)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no LaTeX here")
def test_latex_compiles(frame, tmp_path):
    text = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{as_latex(frame)}"
    (tmp_path / "table.tex").write_text(text.replace("% \\use", "%\n% \\use") + "\\end{document}")
    command = ["pdflatex", "-halt-on-error", "table.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=600)


def test_markdown_has_a_cell_for_each_target_and_obeys_no_name(frame):
    lines = [line for line in as_markdown(frame).splitlines() if line.startswith("|")]
    assert len(lines) == 5
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 4
    assert r"\| \<b\>" in as_markdown(frame)


class Elements(HTMLParser):
    """Which elements are open when others begin and end."""

    def __init__(self):
        super().__init__()
        self.open, self.cells = [], 0

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)
        self.cells += tag == "td"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_well_formed_and_obeys_no_name(frame):
    elements = Elements()
    elements.feed(as_html(frame))
    assert not elements.open
    assert elements.cells == 6
    assert "&lt;b&gt;$y$" in as_html(frame)


def test_the_command_prints_each_format(frame, make_sweep, tmp_path, capsys):
    write_records(make_sweep(), tmp_path / "records")
    for name, write in FORMATS.items():
        assert main(["leaderboard", str(tmp_path / "records"), "--format", name]) == 0
        assert capsys.readouterr().out == write(leaderboard([tmp_path / "records"])) + "\n"


@pytest.mark.parametrize("kind", FIGURE_FORMATS)
def test_a_figure_has_the_same_bytes_at_any_time(kind, tmp_path, monkeypatch):
    written = []
    for time in ("0", "1500000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", time)
        figure = Figure(figsize=(1, 1))
        figure.text(0.5, 0.5, "words")
        save_figure(figure, tmp_path / f"{time}.{kind}")
        written.append((tmp_path / f"{time}.{kind}").read_bytes())
    assert written[0] == written[1]
    assert b"CreationDate" not in written[0]
    assert b"dc:date" not in written[0]
    assert (b"/FontFile2" in written[0]) == (kind == "pdf")  # type 42: its text can be edited


@pytest.mark.slow
def test_plots_are_written_in_each_format(make_sweep, tmp_path):
    write_records(make_sweep(), tmp_path / "records")
    folder = tmp_path / "plots"
    command = ["leaderboard", str(tmp_path / "records"), "--plots", str(folder), "--figures"]
    assert main([*command, *FIGURE_FORMATS]) == 0
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert {path.name for path in folder.iterdir()} == {
        f"quality-vs-{kind}{end}" for kind in ("compression", "speedup") for end in starts
    }
    for path in folder.iterdir():
        assert path.read_bytes().startswith(starts[path.suffix])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--figures", "pdf"], "--figures says how plots are written: give --plots FOLDER too"),
        (["--checklist", "--format", "csv"], "--checklist is text: leave out --format csv"),
        (["--format", "word"], "invalid choice: 'word'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(make_sweep, tmp_path, capsys, options, sentence):
    write_records(make_sweep(), tmp_path / "records")
    assert main(["leaderboard", str(tmp_path / "records"), *options]) == 2
    assert sentence in capsys.readouterr().err
