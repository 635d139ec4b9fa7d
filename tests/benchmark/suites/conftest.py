"""A suite in which all methods were run, which several test files look at."""

import pytest
from tiny_suite import written

from prunebench.benchmark.command_line import main


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """The folder of a suite in which all its methods were run."""
    folder = tmp_path_factory.mktemp("suite")
    path = written(folder)
    assert main(["suite", "run", str(path), "--strategies", "all", "--runs", str(folder)]) == 0
    return folder
