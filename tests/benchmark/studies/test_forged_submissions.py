"""Submitting: folders that are forged in any of a hundred ways are refused with the reason."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from submissions import FILES, ROOT, Forger, path_of, refusals

from prunebench.benchmark.studies.published import Published
from prunebench.benchmark.studies.submission_rules import it_has_three_seeds
from prunebench.results.manifest import summary

pytestmark = pytest.mark.slow


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


def test_a_row_of_which_all_seeds_failed_has_no_seeds(honest):
    """It was passed over, so that one failed seed of three was refused, and three were not."""
    records = [
        record.model_copy(update={"status": "failed"})
        if record.experiment["strategy"] == "Random"
        else record
        for record in Published(honest, trust=True).records
    ]
    (sentence,) = it_has_three_seeds(SimpleNamespace(records=records))
    assert sentence == "Random at 2 has no finished seed, and 3 are needed"
