"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest
import torch

from prunebench.benchmark.experiment import Experiment
from prunebench.datasets import Digits, Task


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("PRUNEBENCH_DATA")
    if not folder:
        pytest.skip("PRUNEBENCH_DATA does not name a folder with the real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def digits() -> Task:
    return Digits().load(Path())


@pytest.fixture
def experiment():
    """Make a quick experiment on the digits, with the settings given."""

    def make(**settings: object) -> Experiment:
        defaults = {
            "dataset": "Digits",
            "model": "LeNetSmall",
            "strategy": "GlobalMagnitude",
            "pretraining": {"epochs": 3},
            "finetuning": {"epochs": 1},
        }
        if "sparsity" not in settings:
            defaults["compression"] = 4.0
        return Experiment(**{**defaults, **settings})

    return make
