"""A submission that was accepted, and copies of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from submissions import METHOD, ROOT

from prunebench.benchmark.command_line import main
from prunebench.benchmark.studies.submitting import Code, submit
from prunebench.results import Record, Store

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


@pytest.fixture(scope="session")
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
