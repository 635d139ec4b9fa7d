"""Shards: parts of a sweep that are the same wherever they are worked out."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prunebench
from prunebench.benchmark.command_line import main
from prunebench.benchmark.studies.restoring import restore
from prunebench.benchmark.sweeps.shards import shards_of
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.results import Store

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
QUICK = {"dataset": "Digits", "model": "LeNetSmall", "measurements": ["Size"],
         "pretraining": {"epochs": 1}, "finetuning": {"epochs": 1}}  # fmt: skip
OPTIONS = ["--dataset", "Digits", "--model", "LeNetSmall", "--measurements", "Size",
           "--pretraining.epochs", "1", "--finetuning.epochs", "1",
           "--strategy", "Random", "--compression", "2", "4", "--seed", "0", "1"]  # fmt: skip

names = st.integers(0, 2**64 - 1).map("{:016x}".format)
dense_networks = st.lists(names, min_size=1, max_size=20, unique=True)
counts = st.integers(1, 24)


def cells_of(networks, per_network):
    return [(dense, f"{dense}-{n}") for n in range(per_network) for dense in networks]


@settings(max_examples=40)
@given(dense_networks, st.integers(1, 20), st.integers(1, 20), counts)
def test_cells_added_to_the_same_dense_networks_move_none(networks, few, more, count):
    before = cells_of(networks, few)
    after = cells_of(networks, few + more)
    assert shards_of(after, count)[: len(before)] == shards_of(before, count)


@settings(max_examples=40)
@given(dense_networks, st.integers(1, 20), counts, st.randoms())
def test_the_order_of_cells_and_their_repetition_mean_nothing(networks, per_network, count, random):
    cells = cells_of(networks, per_network)
    places = dict(zip(cells, shards_of(cells, count), strict=True))
    shuffled = random.sample(cells, len(cells)) + cells[:3]
    assert shards_of(shuffled, count) == [places[cell] for cell in shuffled]


@settings(max_examples=40)
@given(dense_networks, st.integers(1, 20), counts)
def test_cells_of_a_dense_network_stay_together_as_far_as_balance_allows(
    networks, per_network, count
):
    cells = cells_of(networks, per_network)
    trained = defaultdict(set)
    for (dense, _), place in zip(cells, shards_of(cells, count), strict=True):
        assert 1 <= place <= count
        trained[dense].add(place)
    most = max(map(len, trained.values()))
    assert most <= max(1, 8 * count / len(networks))


@settings(max_examples=40)
@given(dense_networks, st.integers(2, 30), st.integers(2, 16))
def test_shards_are_even(networks, per_network, count):
    """Shares differ as lots do that are drawn for groups of cells, four a shard and more."""
    per_network *= count  # so that the cells of one network alone would do for all shards
    cells = cells_of(networks, per_network)
    places = shards_of(cells, count)
    fair = len(cells) / count
    assert max(map(places.count, range(1, count + 1))) <= 4 * fair


def test_even_shards_of_a_large_grid():
    """Ten seeds of two networks, a hundred cells each, in sixteen shards: less than twice fair."""
    cells = cells_of([f"{n:016x}" for n in range(20)], 100)
    places = shards_of(cells, 16)
    sizes = [places.count(place) for place in range(1, 17)]
    assert sum(sizes) == 2000
    assert min(sizes) > 0
    assert max(sizes) < 2 * 2000 / 16


@pytest.mark.parametrize("text", ["0/16", "17/16", "3", "3/0", "-1/4", "a/b", "1/99999", "1/2/3"])
def test_what_is_no_shard_gets_a_sentence(text, capsys):
    assert main(["run", *OPTIONS, f"--shard={text}"]) == 2
    said = capsys.readouterr().err
    assert repr(text) in said
    assert "such as 3/16" in said
    with pytest.raises(prunebench.UsageError, match="shard"):
        prunebench.sweep([], shard=text)


@pytest.mark.slow
def test_sixteen_shards_merged_are_one_run(tmp_path, capsys):
    experiments = prunebench.grid(
        **QUICK, strategy=["Random", "GlobalMagnitude"], compression=[2, 4], seed=[0, 1]
    )
    whole = prunebench.sweep(experiments, runs=tmp_path / "whole", progress=False)
    folders = []
    for number in range(1, 17):
        folder = tmp_path / f"shard-{number}"
        if prunebench.sweep(experiments, runs=folder, shard=f"{number}/16", progress=False):
            folders.append(folder)
    assert 1 < len(folders) <= 8
    assert main(["merge", *map(str, folders), "-o", str(tmp_path / "merged")]) == 0
    assert "8 records, 0 of them failed; 8 added, 0 repeated" in capsys.readouterr().out
    merged = Store(tmp_path / "merged")
    assert list(merged.ids()) == sorted(record.id for record in whole)
    for record in whole:
        assert merged.load(record.id).result() == record.result()
        assert restore(record, merged, data_folder(None)).networks.keys() == {"dense", "masked"}
        weights = Store(tmp_path / "whole").weights_path(record.id).read_bytes()
        assert merged.weights_path(record.id).read_bytes() == weights


@pytest.mark.slow
def test_a_shard_without_a_strategy_that_has_a_label_is_reported_all_the_same(tmp_path, capsys):
    options = [
        *OPTIONS[: OPTIONS.index("--strategy")],
        "--compression",
        "2",
        "--pretraining.epochs",
    ]
    options += ["0", "--strategy", "Random", "GlobalMagnitude", "LAMP", "--label", "Random=Chance"]
    shown = []
    for number in range(1, 4):
        folder = tmp_path / str(number)
        assert main(["run", *options, "--shard", f"{number}/3", "--runs", str(folder)]) == 0
        if folder.exists():
            shown.append((folder / "leaderboard.csv").read_text())
            assert (folder / "report.html").is_file()
    assert sum("Chance" in each for each in shown) == 1
    assert len(shown) > 1


@pytest.fixture
def commands(tmp_path):
    """An environment in which prunebench is a command, and ssh runs what it is told right here."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "prunebench").write_text(f'#!/bin/sh\nexec {sys.executable} -m prunebench "$@"\n')
    (folder / "ssh").write_text('#!/bin/sh\nmkdir -p "$1"; cd "$1"; shift; exec sh -c "$*"\n')
    for path in folder.iterdir():
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
def test_the_tasks_of_the_slurm_example_have_each_cell_once(commands, tmp_path):
    planned = []
    for task in ("1", "2"):
        done = subprocess.run(
            ["bash", EXAMPLES / "slurm_array.sh", *OPTIONS, "--dry-run"],
            env={**commands, "SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"},
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        planned += re.findall(r"^([0-9a-f]{16})  to run", done.stdout, re.MULTILINE)
    grid = prunebench.grid(**QUICK, strategy="Random", compression=[2, 4], seed=[0, 1])
    assert sorted(planned) == sorted(each.id for each in grid)


@pytest.mark.slow
def test_the_ssh_example_brings_all_records_home(commands, tmp_path):
    done = subprocess.run(
        ["bash", EXAMPLES / "over_ssh.sh", *OPTIONS],
        env={**commands, "HOSTS": "alice bob", "FOLDER": "."},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    grid = prunebench.grid(**QUICK, strategy="Random", compression=[2, 4], seed=[0, 1])
    assert sorted(each.id for each in grid) == list(Store(tmp_path / "runs/all").ids())
    for number, host in enumerate(("alice", "bob"), start=1):
        assert (tmp_path / host / f"runs/shard-{number}").is_dir()
