"""Verifying: cells of an honest folder agree when they are run again, and invented ones do not."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from submissions import METHOD, ROOT, Forger, path_of, refusals

from prunebench import UsageError, run
from prunebench.benchmark.cell.record import described, failed_record
from prunebench.benchmark.command_line import main
from prunebench.benchmark.studies.published import Published
from prunebench.benchmark.studies.rules import numbers_of_a_record_agree, validate
from prunebench.benchmark.studies.verifying import draw, repeat
from prunebench.results import Layer, Record, Round, Store
from prunebench.results.agreement import Tolerances, agreement
from prunebench.results.manifest import provenance, read_manifest
from prunebench.results.record_file import write_records

pytestmark = pytest.mark.slow


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
