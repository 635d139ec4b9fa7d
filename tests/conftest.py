"""Fixtures that several test folders share."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prunebench.benchmark.experiment import Experiment
from prunebench.datasets import Digits, Task
from prunebench.registry import hyperparameters
from prunebench.strategies import STRATEGIES, Strategy


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
def frugal():
    """Make the strategy of a name, asking for as little scoring as it can do with."""
    less = {"batches": 2, "batch_size": 32, "examples": 24, "iterations": 10, "probes": 2}

    def make(name: str, **arguments: object) -> Strategy:
        strategy = STRATEGIES.find(name)(**arguments)
        parts = {"": strategy, "curvature": getattr(strategy, "curvature", None)}
        small = {
            part: {field: less[field] for field in hyperparameters(type(owner)) if field in less}
            for part, owner in parts.items()
            if owner is not None
        }
        if "curvature" in small:
            small[""]["curvature"] = replace(parts["curvature"], **small["curvature"])
        return replace(strategy, **small[""])

    return make


@pytest.fixture(scope="session")
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
