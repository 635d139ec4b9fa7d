"""Limits: a cell that takes too long or too much fails by name, and takes no other with it."""

import sys

import pytest

import prunebench
from prunebench.benchmark.command_line import main

GREEDY = """
import time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from prunebench.strategies import GlobalMagnitude
held = []
@dataclass(frozen=True)
class Sleeping(GlobalMagnitude):
    '''Takes forever, an hour of which passes at once.'''
    file: str = ""
    def score(self, context):
        Path(self.file).write_text(".")
        time.sleep(3600)
class Allocating(GlobalMagnitude):
    '''Takes ever more memory.'''
    def score(self, context):
        for _ in range(30):
            held.append(np.ones(10**7))
            time.sleep(0.02)
        time.sleep(3600)
@dataclass(frozen=True)
class Keeping(GlobalMagnitude):
    '''Takes memory, and never gives it back.'''
    number: int = 0
    def score(self, context):
        held.append(np.ones(10**8))
        return super().score(context)
"""
QUICK = {"dataset": "Digits", "model": "LeNetSmall", "measurements": ["Size"],
         "compression": 4,
         "pretraining": {"epochs": 1}, "finetuning": {"epochs": 1}}  # fmt: skip


def sweep(tmp_path, names, **options):
    path = tmp_path / "greedy.py"
    path.write_text(GREEDY)
    strategies = [f"{path}:{name}" for name in names]
    experiments = prunebench.grid(**QUICK, strategy=[*strategies, "Random"])
    return prunebench.sweep(experiments, runs=tmp_path / "runs", progress=False, **options)


@pytest.mark.slow
def test_a_cell_that_takes_too_long_fails_and_the_others_go_on(tmp_path, hours):
    sleeping, after = sweep(tmp_path, [f"Sleeping(file={str(hours)!r})"], timeout=1800)
    assert sleeping.error.type == "TimeoutError"
    assert sleeping.error.message == "not finished after 1800 seconds"
    assert after.status == "ok"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="says not what memory a process holds")
def test_a_cell_that_holds_too_much_memory_fails_and_the_others_go_on(tmp_path):
    names = ["Allocating", "Keeping(number=0)", "Keeping(number=1)"]
    allocating, *others = sweep(tmp_path, names, workers=2, memory_limit=2_000_000_000)
    assert allocating.error.type == "MemoryError"
    assert "held more than 2 GB" in allocating.error.message
    # Each of those that keep fits alone, and no two of them in one process.
    assert [record.status for record in others] == ["ok"] * 3


@pytest.mark.parametrize("size", ["4", "much", "4QB", "0GB"])
def test_a_size_of_memory_needs_its_unit(size, capsys):
    assert main(["run", "--memory-limit", size]) == 2
    assert "such as 4GB or 512MiB" in capsys.readouterr().err
