"""Submitting and verifying: an honest folder is accepted, and forged ones are refused."""

import csv
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from prunebench import UsageError, run
from prunebench.benchmark.cell.record import described, failed_record
from prunebench.benchmark.command_line import main
from prunebench.benchmark.studies.published import Published
from prunebench.benchmark.studies.rules import numbers_of_a_record_agree, validate
from prunebench.benchmark.studies.submission_rules import SUBMISSION
from prunebench.benchmark.studies.submitting import Code, submit
from prunebench.benchmark.studies.verifying import draw, repeat
from prunebench.results import Layer, Record, Round, Store
from prunebench.results.agreement import Tolerances, agreement
from prunebench.results.manifest import provenance, read_manifest, summary
from prunebench.results.publication import tables
from prunebench.results.record_file import write_records
from prunebench.results.report import report
from prunebench.results.tables import as_csv

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.slow

METHOD = """\
from dataclasses import dataclass

from prunebench.strategies import Context, Scores, ScoredStrategy


@dataclass(frozen=True)
class Mine(ScoredStrategy):
    \"\"\"Prune the weights that are smallest beside the spread of their layer.\"\"\"

    beta: float = 1.0

    def score(self, context: Context) -> Scores:
        return {name: w.abs() / (w.std() + self.beta) for name, w in context.weights.items()}
"""

CONFIG = """\
dataset: Digits
model: Perceptron(hidden=(16,))
strategy: [Random, GlobalMagnitude, 'mine.py:Mine(beta=2.0)']
compression: 2
seed: [0, 1, 2]
recovery: NoRecovery
pretraining: {epochs: 3}
measurements: [Size]
"""


def _of_a_clean_commit(record: Record) -> Record:
    """A record as if nothing of the checkout had been edited that runs the tests."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return record.model_copy(
        update={"environment": {**record.environment, "commit": commit or None}}
    )


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A folder that was accepted, with a method of its own."""
    home = tmp_path_factory.mktemp("submission")
    before = Path.cwd()
    os.chdir(home)
    try:
        Path("mine.py").write_text(METHOD)
        Path("all.yaml").write_text(CONFIG)
        assert main(["run", "all.yaml", "--runs", "runs", "--no-weights"]) == 0
        store = Store("runs")
        for record in list(store.records()):
            store.save(_of_a_clean_commit(record))
        code = Code("MIT", "https://example.org/mine")
        made = submit(Path("runs"), home / "honest", by="Ada", config=None, code=code, trust=True)
        assert made.findings == []
    finally:
        os.chdir(before)
    return home / "honest"


@pytest.fixture
def copy(honest, tmp_path):
    """A copy of it to do anything with."""
    return Path(shutil.copytree(honest, tmp_path / "honest"))


class Forger:
    """Edits a folder, and makes what depends on it fit, knowing how it will be checked."""

    def __init__(self, folder):
        self.folder = folder

    def records(self, change):
        """Let ``change`` edit the list of records as plain data."""
        path = self.folder / "records.jsonl.gz"
        records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        change(records)
        text = "".join(json.dumps(each) + "\n" for each in records)
        path.write_bytes(gzip.compress(text.encode(), mtime=0))

    def replace(self, name, old, new):
        path = self.folder / name
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))

    def manifest(self, change):
        path = self.folder / "manifest.json"
        manifest = json.loads(path.read_bytes())
        change(manifest)
        path.write_text(json.dumps(manifest))

    def fit_digests(self):
        """Write today's digests of all files into the manifest."""
        files = [p for p in self.folder.rglob("*") if p.is_file() and p.name != "manifest.json"]
        digests = {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }
        self.manifest(lambda manifest: manifest.update(files=digests))

    def fit_everything(self):
        """Make tables, page, sums and digests of the forged records, as if they were honest."""
        published = Published(self.folder, trust=True)
        frames = tables(published.records, published.labels())
        for name, frame in frames.items():
            (self.folder / name).write_bytes(as_csv(frame))
        report(frames["leaderboard.csv"], self.folder / "report.html", published.records)
        self.manifest(lambda manifest: manifest.update(made=summary(published.records)))
        self.fit_digests()


def refusals(folder):
    """What is said of a folder that somebody submits."""
    return [each.sentence for each in validate(Published(folder, trust=True), SUBMISSION)]


FILES = (
    *("records.jsonl.gz", "leaderboard.csv", "seeds.csv", "report.html", "experiments.yaml"),
    *("quality-vs-compression.png", "METHOD"),
)


def path_of(folder, name):
    return next((folder / "methods").iterdir()) if name == "METHOD" else folder / name


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def _append(path):
    path.write_bytes(path.read_bytes() + b"\n# more\n")


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _empty(path):
    path.write_bytes(b"")


# 7 files × 5 ways: whoever does not touch the manifest.
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("edit", [_truncate, _append, _flip, _empty, Path.unlink])
def test_a_file_that_is_not_the_one_of_the_manifest_is_refused_by_name(copy, name, edit):
    path = path_of(copy, name)
    edit(path)
    assert any(path.name in sentence for sentence in refusals(copy))


def _each(*path):
    """Change a number of every third record, deep in it."""

    def change(records):
        for record in records[::3]:
            place = record
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = (place[path[-1]] or 0) * 1.25 + 1

    return change


def _set(value, *path):
    def change(records):
        place = records[0]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def _swap_ids(records):
    records[0]["id"], records[1]["id"] = records[1]["id"], records[0]["id"]


def _swap_results(records):
    for name in ("final", "layers", "rounds"):
        records[0][name], records[1][name] = records[1][name], records[0][name]


def _swap_seeds(records):
    first, second = records[0]["experiment"], records[1]["experiment"]
    first["seed"], second["seed"] = second["seed"] + 5, first["seed"] + 7


def _duplicate(records):
    records.insert(0, records[0])


def _remove(records):
    del records[4]


def _remove_all(records):
    records.clear()


def _new_seed(records):
    other = json.loads(json.dumps(records[0]))
    other["experiment"]["seed"] = 9
    records.append(other)


def _new_id(records):
    records.append({**records[0], "id": "0123456789abcdef"})


def _fail(records):
    del records[0]["final"]


def _other_dense(records):
    for record in records:
        if record["experiment"]["strategy"] == "Random":
            record["dense"]["top1"] = 0.99


def _other_curve(records):
    records[0]["history"][0]["loss"] = 0.001


def _digest(name):
    def change(records):
        records[0]["digests"][name] = "0" * 64

    return change


# What is done to records, by one who makes tables, page, sums and digests anew of them; and what
# the reason must say.
RECORDS = {
    "compression": (_each("final", "compression"), "contradicts itself: compression"),
    "nonzero": (_each("final", "nonzero"), "contradicts itself: "),
    "parameters": (_each("final", "parameters"), "contradicts itself: parameters"),
    "sparsity": (_each("final", "sparsity"), "contradicts itself: sparsity"),
    "prunable": (_each("final", "prunable_sparsity"), "contradicts itself: prunable_sparsity"),
    "top1": (_each("final", "top1"), "contradicts itself: final.top1"),
    "loss": (_each("final", "loss"), "contradicts itself: final.loss"),
    "round": (_each("rounds", 0, "after", "top1"), "contradicts itself: final.top1"),
    "layer": (_set(3, "layers", 0, "nonzero"), "contradicts itself: nonzero"),
    "density": (_set(0.123, "layers", 0, "density"), "contradicts itself: density"),
    "dense size": (_set(9, "dense", "parameters"), "contradicts itself: parameters"),
    "histogram": (_set([1], "distributions", 0, "recovered"), "contradicts itself: distributions"),
    "revision": (_set(9999, "revision"), "9999 changes"),
    "stack": (_set(0, "stacked"), "not a record"),
    "status": (_set("failed", "status"), "not a record"),
    "unknown field": (_set(1, "verified"), "not a record"),
    "no number": (_set("high", "final", "top1"), "not a record"),
    "id": (_set("0123456789abcdef", "id"), "0123456789abcdef has the settings of the experiment"),
    "seed": (_set(7, "experiment", "seed"), "has the settings of the experiment"),
    "strategy": (_set("LAMP", "experiment", "strategy"), "has the settings of the experiment"),
    "unknown": (_set("Best", "experiment", "strategy"), "Best"),
    "target": (_set(8.0, "experiment", "compression"), "has the settings of the experiment"),
    "epochs": (_set(5, "experiment", "pretraining", "epochs"), "has the settings of"),
    "threads": (_set(4, "experiment", "threads"), "has the settings of the experiment"),
    "rounds": (_set(2, "experiment", "rounds"), "has the settings of the experiment"),
    "model": (_set("LeNetSmall", "experiment", "model"), "has the settings of the experiment"),
    "comparison": (_set("00000000", "experiment", "comparison"), "has comparison '00000000'"),
    "setting": (_set(1, "experiment", "luck"), "has luck 1"),
    "foreign code": (_set("../x.py:A", "experiment", "strategy"), "x.py"),
    "swapped ids": (_swap_ids, "has the settings of the experiment"),
    "swapped seeds": (_swap_seeds, "has the settings of the experiment"),
    "duplicate": (_duplicate, "is there 2 times"),
    "removed": (_remove, "1 of 9 cells have no record"),
    "no records": (_remove_all, "there are no records"),
    "new seed": (_new_seed, "is there 2 times"),
    "new id": (_new_id, "0123456789abcdef has the settings"),
    "no final": (_fail, "not a record"),
    "dense quality": (_other_dense, "have different dense.top1"),
    "curve": (_other_curve, "have different curves of its training"),
    "dense digest": (_digest("dense"), "have different digests.dense"),
    "data digest": (_digest("data"), "different digests of its data"),
    "dirty": (_set("a" * 12 + "-dirty", "environment", "commit"), "something was edited"),
    "commit": (_set("f" * 12, "environment", "commit"), "commit"),
}


# 44 ways, each by one who knows that digests, sums and tables are checked, as far as can be.
@pytest.mark.parametrize("kind", RECORDS)
def test_forged_records_are_refused_with_the_reason(copy, kind, request):
    if kind == "commit" and not (ROOT / ".git").exists():
        pytest.skip("without a checkout nobody knows which commits there are")
    change, reason = RECORDS[kind]
    forger = Forger(copy)
    forger.records(change)
    if kind in ("dirty", "commit"):
        forger.fit_everything()
    forger.fit_digests()
    _fit_sums(forger)
    assert any(reason in sentence for sentence in refusals(copy)), refusals(copy)


def _fit_sums(forger):
    """Have the manifest say what forged records say, where these can be read at all."""
    try:
        records = Published(forger.folder, trust=True).records
        forger.manifest(lambda manifest: manifest.update(made=summary(records)))
    except Exception:  # whatever reading forged records leads to
        return


def _number_in(name, column):
    """Raise the first value of a column of a table."""

    def change(forger):
        path = forger.folder / name
        rows = list(csv.reader(path.read_text().splitlines()))
        place = rows[0].index(column)
        rows[1][place] = "0.999" if rows[1][place] != "0.999" else "0.998"
        path.write_text("".join(",".join(map(_quoted, row)) + "\n" for row in rows))

    return change


def _quoted(cell):
    return f'"{cell}"' if "," in cell else cell


def _manifest(**changes):
    return lambda forger: forger.manifest(lambda manifest: manifest.update(changes))


def _made(name, old, new):
    def change(manifest):
        manifest["made"][name] = {
            text.replace(old, new): count for text, count in manifest["made"][name].items()
        }

    return lambda forger: forger.manifest(change)


def _claim(**changes):
    """Call the folder verified."""
    claim = {
        **{"date": "2026-01-01", "by": "the maintainers", "processor": "any", "torch": "2.15.0"},
        **{"commit": None, "cells": {}, "records": "0" * 64},
        **changes,
    }
    return _manifest(verifications=[claim])


def _method(edit):
    def change(forger):
        path = path_of(forger.folder, "METHOD")
        edit(path)

    return change


def _another_method(forger):
    (forger.folder / "methods/more.py").write_text("print('surprise')\n")


def _code_elsewhere(forger):
    (forger.folder / "conftest.py").write_text("print('surprise')\n")


def _page(old, new):
    return lambda forger: forger.replace("report.html", old, new)


def _page_number(forger):
    path = forger.folder / "report.html"
    before, cell, after = path.read_text().partition("<td")
    opening, number, rest = after.partition("±")
    assert number
    path.write_text(before + cell + opening + "123.45" + number + rest)


# What is done to other files, by one who makes the digests anew.
OTHERS = {
    "mean": (_number_in("leaderboard.csv", "top1_mean"), "leaderboard.csv is not what"),
    "spread": (_number_in("leaderboard.csv", "top1_std"), "leaderboard.csv is not what"),
    "dense": (_number_in("leaderboard.csv", "top1_dense_mean"), "leaderboard.csv is not what"),
    "achieved": (_number_in("leaderboard.csv", "compression_mean"), "leaderboard.csv is not what"),
    "seeds": (_number_in("leaderboard.csv", "seeds"), "leaderboard.csv is not what"),
    "single": (_number_in("seeds.csv", "top1"), "seeds.csv is not what"),
    "single id": (_number_in("seeds.csv", "id"), "seeds.csv is not what"),
    "name": (lambda f: f.replace("seeds.csv", b"Random", b"Mine"), "seeds.csv is not what"),
    "no table": (lambda f: (f.folder / "seeds.csv").unlink(), "there is no seeds.csv"),
    "no page": (lambda f: (f.folder / "report.html").unlink(), "there is no report.html"),
    "no records": (lambda f: (f.folder / "records.jsonl.gz").unlink(), "no records.jsonl.gz"),
    "page": (_page_number, "report.html says 123.45"),
    "page data": (
        _page(b'"application/json" class="data">', b'"application/json">0'),
        "holds data",
    ),
    "fewer seeds": (lambda f: f.replace("experiments.yaml", b"- 2\n", b""), "of no cell"),
    "more seeds": (lambda f: f.replace("experiments.yaml", b"- 2\n", b"- 2\n- 3\n"), "no record"),
    "other recipe": (
        lambda f: f.replace("experiments.yaml", b"epochs: 3", b"epochs: 4"),
        "no record",
    ),
    "no settings": (lambda f: f.replace("experiments.yaml", b"dataset", b"datenset"), "dataset"),
    "edited": (_method(_append), "is not what was run"),
    "other method": (_method(lambda p: p.write_text("x = 1\n")), "is not what was run"),
    "no method": (_method(Path.unlink), "was run, and is not in methods"),
    "more code": (_another_method, "more.py is not what was run"),
    "code": (_code_elsewhere, "conftest.py is not what was run"),
    "label": (_manifest(label="maintainer-run"), "calls a submission maintainer-run"),
    "no label": (_manifest(label="verified"), "is no manifest (label"),
    "nobody": (_manifest(by=" "), "by whom"),
    "licence": (_manifest(code_licence=""), "under which licence"),
    "source": (_manifest(code_source=""), "where the files in methods come from"),
    "version": (_manifest(version=2), "is no manifest (version"),
    "more said": (_manifest(rank=1), "is no manifest (rank"),
    "verified": (_claim(), "others"),
    "verified cell": (_claim(cells={"0123456789abcdef": "identical"}), "0123456789abcdef"),
    "commit": (_manifest(made={}), "the manifest says under commits"),
    "processor": (_made("environments", "threads 1", "threads 8"), "under environments"),
    "data": (_made("data", "Digits ", "Digits 0"), "under data"),
    "network": (_made("dense", "seed 0 ", "seed 0 0"), "under dense"),
    "no manifest": (lambda f: (f.folder / "manifest.json").unlink(), "has no manifest.json"),
}
WITHOUT_DIGESTS = ("no manifest", "no label", "version", "more said")


@pytest.mark.parametrize("kind", OTHERS)
def test_other_forged_files_are_refused_with_the_reason(copy, kind):
    change, reason = OTHERS[kind]
    forger = Forger(copy)
    change(forger)
    if kind not in WITHOUT_DIGESTS:
        forger.fit_digests()
    assert any(reason in sentence for sentence in refusals(copy)), refusals(copy)


def test_there_are_a_hundred_forged_submissions():
    assert 5 * len(FILES) + len(RECORDS) + len(OTHERS) >= 100


def test_a_submission_needs_its_baselines_and_three_seeds(copy):
    forger = Forger(copy)
    config = copy / "experiments.yaml"
    config.write_text(config.read_text().replace("- 2\n", "").replace("- GlobalMagnitude\n", ""))
    forger.records(
        lambda records: records.__setitem__(
            slice(None),
            [
                each
                for each in records
                if each["experiment"]["seed"] < 2
                and each["experiment"]["strategy"] != "GlobalMagnitude"
            ],
        )
    )
    forger.fit_everything()
    said = refusals(copy)
    assert "GlobalMagnitude is missing at 2" in said
    assert "Random at 2 has 2 finished seeds, and 3 are needed" in said


def test_an_honest_folder_is_run_again_with_identical_bits_and_says_so(copy, capsys):
    arguments = ["verify", str(copy), "--trust", "--cells", "2", "--seed", "1"]
    assert main([*arguments, "--submission", "--json", "--record", "Bob"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["verdict"] for each in said["cells"]] == ["identical", "identical"]
    manifest = read_manifest(copy)
    verified = [each for each in said["cells"] if manifest.provenance(each["id"]) == "verified"]
    assert len(verified) == 2
    assert "Reported by Ada (self-reported). Verified by Bob on " in provenance(copy)
    assert "2 cells run again, with identical bits" in provenance(copy)
    assert validate(Published(copy, trust=True)) == []


def _invent(records):
    """Better results for all seeds of a strategy, wherever a record says how good it was."""
    for record in records:
        if "Mine" in record["experiment"]["strategy"]:
            record["final"]["top1"] = record["rounds"][-1]["after"]["top1"] = 0.98


def test_what_is_forged_in_agreement_with_itself_is_found_by_running_it_again(copy, capsys):
    forger = Forger(copy)
    forger.records(_invent)
    forger.fit_everything()
    assert refusals(copy) == []
    assert main(["verify", str(copy), "--trust", "--all"]) == 1
    said = capsys.readouterr().out
    assert said.count("final.top1 is 0.98 in the record") == 3
    assert "6 with identical bits, 0 equal within the tolerance, 3 different" in said


def test_code_in_a_folder_is_not_executed_without_trust(copy, capsys):
    path_of(copy, "METHOD").write_text("raise SystemExit('executed')\n")
    assert main(["verify", str(copy)]) == 2
    assert "give --trust" in capsys.readouterr().err


def test_the_script_of_continuous_integration_accepts_an_honest_folder(honest):
    script = [ROOT / ".ci/submission", "--trust", "--cells", "1", honest]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        script, cwd=honest.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "1 with identical bits" in done.stdout


def test_elsewhere_numbers_may_differ_as_seeds_do_and_no_further(honest):
    records = Published(honest, trust=True).records
    tolerances = Tolerances(records)
    first = records[0]
    allowed = tolerances.of(first, "final", "top1")
    assert 0 < allowed < 1

    def found(change, processor):
        final = {**first.final, "top1": first.final["top1"] + change}
        environment = {**first.environment, "processor": processor}
        return first.model_copy(update={"final": final, "environment": environment})

    here = first.environment["processor"]
    assert agreement(first, found(0, "another"), tolerances).verdict == "identical"
    near = agreement(first, found(0.9 * allowed, "another"), tolerances)
    assert near.verdict == "equal"
    assert near.conditions == (f"processor {here} then and another now",)
    far = agreement(first, found(1.1 * allowed, "another"), tolerances)
    assert (far.verdict, far.beyond.place) == ("different", "final.top1")
    assert agreement(first, found(1e-9, here), tolerances).verdict == "different"


def test_what_is_measured_in_the_end_alone_contradicts_no_round(experiment):
    def complaints(final):
        after = {"top1": 0.9, "loss": 0.4}
        layer = Layer(
            name="w", shape=(10,), parameters=10, nonzero=10, density=1.0,
            flops=None, effective_flops=None,
        )  # fmt: skip
        last = Round(round=1, density=0.5, kept=5, before=after, after=after, validation=after)
        record = Record(
            id="0" * 16, status="ok", experiment=described(experiment()), rounds=(last,),
            quality={"top1": "higher", "loss": "lower", "bleu": "higher"},
            dense={"top1": 0.9, "loss": 0.4, "bleu": 31.0, "parameters": 10},
            final={"parameters": 10, "nonzero": 10, "compression": 1.0, "sparsity": 0.0, **final},
            layers=(layer,), collapsed_layers=(), timings={}, environment={},
        )  # fmt: skip
        return list(numbers_of_a_record_agree(SimpleNamespace(records=[record])))

    assert complaints({"top1": 0.9, "loss": 0.4, "bleu": 30.0}) == []
    (sentence,) = complaints({"top1": 0.9, "loss": 0.5, "bleu": 30.0})
    assert sentence.endswith("contradicts itself: final.loss")


def test_altered_code_in_a_folder_is_executed_by_no_command_that_looks_at_it(copy, capsys):
    marker, beside = copy.parent / "MARKER", ["--published", str(copy.parent), "--check"]
    with path_of(copy, "METHOD").open("a") as method:
        method.write(f"open({str(marker)!r}, 'w').close()\n")
    Forger(copy).fit_digests()
    assert main(["publish", *beside]) == 0
    assert "not checked: has code of its own" in capsys.readouterr().out
    assert main(["publish", *beside, "--trust"]) == 1
    assert "is not what was run: no record has its digest" in capsys.readouterr().out
    assert main(["publish", *beside[:2], "--runs", str(copy.parent / "runs"), "--trust"]) == 2
    if find_spec("markdown_it"):
        assert main(["site", str(copy.parent), "-o", str(copy.parent.parent / "site")]) == 0
        page = copy.parent.parent / "site/results/honest/index.html"
        assert "code of its own, which is not executed" in page.read_text()
    assert not marker.exists()


def test_a_folder_with_code_is_checked_where_that_is_trusted(copy, capsys):
    assert main(["publish", "--published", str(copy.parent), "--check", "--trust"]) == 0
    assert capsys.readouterr().out == f"fresh  {copy}\n"


def _failed(kind):
    """Have the records of a rival say that it failed."""

    def change(records):
        for record in records:
            if record["experiment"]["strategy"] == "GlobalMagnitude":
                error = {"type": kind, "message": "it did", "traceback": ""}
                nothing = {"rounds": [], "layers": [], "collapsed_layers": [], "history": []}
                nothing |= {"dense": {}, "final": {}, "quality": {}, "timings": {}, "described": {}}
                nothing |= {"digests": {}, "distributions": [], "by_class": {}}
                record |= {"status": "failed", "error": error, **nothing}

    return change


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("ValueError", 1, "6 with identical bits, 0 equal within the tolerance, 3 different"),
        ("TimeoutError", 0, "not run again: GlobalMagnitude"),
    ],
)
def test_a_rival_is_not_forged_as_failed(copy, capsys, kind, status, said):
    forger = Forger(copy)
    forger.records(_failed(kind))
    forger.fit_everything()
    assert main(["verify", str(copy), "--trust", "--all"]) == status
    output = capsys.readouterr().out
    assert said in output
    assert output.count("status is failed (ValueError: it did) in the record and ok here") == (
        3 * status
    )


def test_what_fails_again_agrees_with_its_record(experiment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(METHOD.replace("return", "raise ValueError(str(self))\n        #"))
    cells = [
        experiment(model="Perceptron(hidden=(16,))", recovery="NoRecovery", **settings)
        for settings in (
            {"strategy": "mine.py:Mine", "compression": 2},
            {"strategy": "Random", "compression": 2},
            {"strategy": "Random", "compression": 1e6},
        )
    ]
    *ran, refused = cells
    for each in ran:
        run(each, runs="runs")
    Store("runs").save(failed_record(refused, UsageError("it cannot be reached")))
    Path("folder").mkdir()
    write_records(Store("runs").records(), "folder/records.jsonl.gz")
    published = Published(Path("folder"), trust=True)
    drawn = draw(published, None, 600, 0)
    repeated = list(repeat(published, drawn.chosen, data=None, seconds=600))
    assert [each.agreement.verdict for each in repeated] == ["identical"] * 3
    failed = {each.record.id for each in repeated if each.fails_again}
    assert failed == {cells[0].id, refused.id}


def test_the_steps_that_are_printed_of_a_submission_work_with_its_code(
    honest, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(honest.parent)
    code = ["--code-licence", "MIT", "--code-source", "https://example.org/mine", "--trust"]
    folder = tmp_path / "made"
    submitted = ["submit", "runs", "--name", "mine", "--by", "Ada", "-o", str(folder), *code]
    assert main(submitted) == 0
    steps = capsys.readouterr().out
    (tmp_path / "results/published").mkdir(parents=True)
    (tmp_path / "runs").mkdir()
    shutil.copytree(honest.parent / "runs", tmp_path / "runs/mine")
    monkeypatch.chdir(tmp_path)
    copied = [line.partition("cp ")[2] for line in steps.splitlines() if " cp " in line]
    assert copied == [f"-r {folder} results/published/mine"]
    shutil.copytree(folder, "results/published/mine")
    shown = [line.removeprefix("$ ") for line in steps.splitlines() if line.startswith("$ ")]
    assert shown[0] == "cd results/published/mine"
    monkeypatch.chdir("results/published/mine")
    capsys.readouterr()
    assert main([*shown[1].split()[1:], "--dry-run"]) == 0
    assert "9 cells, 9 finished, 0 to run" in capsys.readouterr().out
