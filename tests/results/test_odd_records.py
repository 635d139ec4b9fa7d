"""Records that keep the schema, with odd things in them: shown harmlessly, or refused by name."""

import contextlib
import csv
import io
import json
import re
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prunebench.benchmark.command_line import main
from prunebench.errors import printable
from prunebench.results import Store, as_text, leaderboard, write_csv
from prunebench.results.plots import plot_quality
from prunebench.results.report import report
from prunebench.results.targets import COMPRESSION

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\r\nprunebench: all is well"


def written(folder: Path, content: dict) -> Path:
    path = folder / content["id"][:2] / f"{content['id']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def answers(folder: Path, path: Path) -> dict[str, tuple[int, str, str]]:
    """Status, output and complaints of the commands that only read records."""
    found = {}
    for command in (
        ["leaderboard", str(folder), "-o", str(folder / "x.csv")],
        ["show", str(path)],
        ["show", str(path), "--json"],
    ):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(command)
        found[" ".join([command[0], *command[2:]])] = (status, out.getvalue(), err.getvalue())
    return found


def is_harmless(text: str) -> bool:
    return all(c.isprintable() or c in "\n\u00a0\u202f" for c in text)


@pytest.fixture
def content(make_record):
    return json.loads(make_record().to_json())


REMOVED = ["dataset", "model", "strategy", "rounds", "schedule", "recovery", "pretraining", "seed"]
ODD = {
    "dataset": 3,
    "model": None,
    "strategy": ["GlobalMagnitude"],
    "rounds": "many",
    "schedule": {"name": "Geometric"},
    "recovery": 1.5,
    "pretraining": {"epochs": None},
    "finetuning": [],
    "seed": "first",
    "compression": "four",
    "sparsity": [0.5],
    "sources": {"strategy": 7},
    "comparison": 12,
    "start_epoch": "begin",
    "timing": False,
    "initialisation": {},
}


@pytest.mark.parametrize("name", ODD)
def test_a_setting_that_is_missing_or_of_another_kind_is_refused_by_name(tmp_path, content, name):
    for odd in (ODD.get(name), 10**400, True):
        content["experiment"][name] = odd
        if name in REMOVED and odd is None:
            del content["experiment"][name]
        path = written(tmp_path, content)
        for status, _, said in answers(tmp_path, path).values():
            if odd is True and name == "sparsity":
                continue
            assert status == 2, (name, odd)
            assert str(path) in said
            assert name in said
            assert said.count("\n") == 1


def test_an_experiment_without_a_target_is_refused(tmp_path, content):
    content["experiment"]["compression"] = None
    path = written(tmp_path, content)
    for status, _, said in answers(tmp_path, path).values():
        assert status == 2
        assert "none of compression, sparsity" in said


@pytest.mark.parametrize("place", ["dense", "final", "quality"])
@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "a\u202eb"])
def test_measurements_without_a_printable_name_are_refused(tmp_path, content, place, name):
    content[place][name] = "higher" if place == "quality" else 1.0
    path = written(tmp_path, content)
    for status, _, said in answers(tmp_path, path).values():
        assert status == 2
        assert is_harmless(said)


@pytest.mark.parametrize("value", [None, 10**400, -(10**400), 1e308, -1e308, 5e-324, 0, 2**63])
def test_numbers_of_any_size_make_a_table(tmp_path, content, value):
    for place in ("dense", "final"):
        content[place] = dict.fromkeys(content[place], value)
    content["timings"] = {"pretraining_seconds": 1e308, "finetuning_seconds": 1e308}
    path = written(tmp_path, content)
    twin = {**content, "id": "ab" * 8, "experiment": {**content["experiment"], "seed": 1}}
    written(tmp_path, twin)
    for status, out, said in answers(tmp_path, path).values():
        assert status == 0, said
        assert "GlobalMagnitude" in out


@pytest.mark.parametrize("name", ["dataset", "model", "strategy", "schedule", "recovery"])
def test_no_text_of_a_record_reaches_the_terminal_as_a_command(tmp_path, content, name):
    content["experiment"][name] += ESCAPES
    content["environment"] = {"host": ESCAPES, "versions": {ESCAPES: ESCAPES}}
    content["collapsed_layers"] = [ESCAPES]
    content["status"] = "collapsed"
    path = written(tmp_path, content)
    for command, (status, out, said) in answers(tmp_path, path).items():
        assert status == 0, said
        assert is_harmless(out)
        assert is_harmless(said)
        if "--json" in command:
            assert json.loads(out) == json.loads(path.read_text(encoding="utf-8")) | json.loads(out)
            assert json.loads(out)["experiment"] == content["experiment"]
        else:
            assert "\nprunebench: all is well" not in out


def test_no_text_of_a_record_reaches_a_page_as_a_command(tmp_path, make_record):
    def page(**settings):
        report(leaderboard([make_record(**settings)]), tmp_path / "x.html")
        return (tmp_path / "x.html").read_text(encoding="utf-8")

    odd = page(strategy="Random" + ESCAPES, model=ESCAPES + "<script>")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", odd)
    plain = page(strategy="Random", model="LeNet5")
    assert odd.count("<script") == plain.count("<script") > 0


def test_a_measurement_that_a_plug_in_calls_oddly_is_saved_and_read_with_escapes(
    tmp_path, make_record
):
    Store(tmp_path).save(make_record(final={"a\x1b[2J": 1.0}))
    (record,) = Store(tmp_path).records()
    assert record.final[r"a\x1b[2J"] == 1.0


def test_a_failure_is_told_without_its_escapes(tmp_path, make_record):
    content = json.loads(make_record(status="failed").to_json())
    content["error"] = {"type": ESCAPES, "message": ESCAPES, "traceback": "first\nsecond" + ESCAPES}
    path = written(tmp_path, content)
    status, out, _ = answers(tmp_path, path)["show"]
    assert status == 0
    assert is_harmless(out)
    assert "first\nsecond" in out


def test_what_is_printable_stays_and_what_is_not_is_escaped():
    assert printable("LeNet5(width=2) — naïve, 彩, \u00a0×\u202f✓") == (
        "LeNet5(width=2) — naïve, 彩, \u00a0×\u202f✓"
    )
    assert printable("a\x1b[2J\n\u202e\x9b") == r"a\x1b[2J\n\u202e\x9b"


FORMULAS = ["=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_takes_no_text_of_a_csv_for_a_formula(tmp_path, make_record, text):
    frame = leaderboard([make_record(strategy=text, schedule=text, dataset=text)])
    write_csv(frame, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    harmless = f"'{text}" if text.isprintable() else printable(text)
    assert row["strategy"] == row["schedule"] == row["dataset"] == harmless
    assert not any(cell.startswith(tuple("=+@\t\r\n＝")) for cell in row.values())


def test_numbers_of_a_csv_stay_as_they_are(tmp_path):
    frame = pd.DataFrame(
        {
            "change": [-0.5, 1.0],
            "count": pd.array([-1, None], dtype="Int64"),
            "=name": ["Random", "-x"],
            "mixed": [-2.5, "Random"],
        }
    )
    write_csv(frame, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == (
        "change,count,'=name,mixed\n-0.5,-1,Random,-2.5\n1,,'-x,Random\n"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
SETTINGS = [*ODD, "metrics", "threads", "finetuned_network", "unheard of"]
NUMBERS = (
    st.none() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
)
NAMES = st.sampled_from(["top1", "loss", "nonzero", "flops", "compression", "bleu", "x_mean"])


@pytest.mark.slow
@settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    changes=st.dictionaries(st.sampled_from(SETTINGS), JSON, max_size=2),
    dense=st.dictionaries(NAMES, NUMBERS, max_size=3),
    final=st.dictionaries(NAMES, NUMBERS, max_size=3),
    timings=st.dictionaries(st.text(max_size=5), st.none() | st.floats(0, 1e300), max_size=2),
    environment=st.dictionaries(st.text(max_size=5), JSON, max_size=2),
)
def test_any_record_is_shown_or_refused_in_one_sentence(
    make_record, changes, dense, final, timings, environment
):
    content = json.loads(make_record().to_json())
    content["experiment"] |= changes
    content["dense"] |= dense
    content["final"] |= final
    content |= {"timings": timings, "environment": environment}
    with tempfile.TemporaryDirectory() as name:
        path = written(Path(name), content)
        for status, out, said in answers(Path(name), path).values():
            assert status == 0 or (status == 2 and said.count("\n") == 1), said
            assert is_harmless(out + said)


@pytest.mark.slow
def test_a_page_of_very_many_comparisons_is_made_without_plots_and_says_so(
    tmp_path, make_record, monkeypatch
):
    most, count = 3, 4
    for module in ("plots", "report"):
        monkeypatch.setattr(f"prunebench.results.{module}.MOST_COMPARISONS", most)
    frame = leaderboard(make_record(dataset=f"D{n}", strategy=s)
                        for n in range(count) for s in ("Random", "GlobalMagnitude"))  # fmt: skip
    monkeypatch.setattr("prunebench.results.plots.chart", lambda *_, **__: pytest.fail("drawn"))
    report(frame, tmp_path / "x.html")
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert page.count("D3") > 1
    assert f"draws {most} comparisons at most, and this one has {count}" in page
    assert as_text(frame).count("GlobalMagnitude") == count
    with pytest.raises(Exception, match=f"there are {count} comparisons, and {most}"):
        plot_quality(frame, tmp_path / "x.png", COMPRESSION)


def test_records_of_the_benchmark_are_read_as_before(tmp_path, make_record):
    record = make_record()
    Store(tmp_path).save(record)
    assert next(Store(tmp_path).records()) == record


@pytest.mark.slow
@pytest.mark.parametrize("top1", [0.0, 1.0])
def test_accuracies_at_the_ends_of_the_scale_are_drawn(tmp_path, make_record, top1):
    frame = leaderboard([make_record(top1=top1, seed=seed) for seed in (0, 1)])
    plot_quality(frame, tmp_path / "x.png", COMPRESSION)
    report(frame, tmp_path / "x.html")
    assert "<svg" in (tmp_path / "x.html").read_text(encoding="utf-8")
