"""Fixtures that several test folders share."""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from prunebench.benchmark.experiment import Experiment
from prunebench.datasets import Digits, ParallelText, Task, Translation
from prunebench.hyperparameters import hyperparameters
from prunebench.strategies import STRATEGIES, Strategy

# Time says nothing about what is tested, least of all on a busy machine; nor is chance to decide.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="there is no GPU with CUDA"))


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    """A test draws the same whichever ran before it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("PRUNEBENCH_DATA")
    if not folder:
        pytest.skip("PRUNEBENCH_DATA does not name a folder with the real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def digits() -> Task:
    return Digits().load(Path())


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Parallel text in two made-up languages: word for word, in the opposite order."""
    words = {"na": "one", "so": "two", "mi": "three", "lu": "four", "ke": "five", "ro": "six"}
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(0)
    for name, count in (("train", 800), ("val", 60), ("test", 60)):
        sentences = [rng.choices(list(words), k=rng.randint(1, 7)) for _ in range(count)]
        sources = [" ".join(sentence) for sentence in sentences]
        targets = [" ".join(words[word] for word in reversed(each)) for each in sentences]
        (folder / f"{name}.xx").write_text("\n".join(sources) + "\n")
        (folder / f"{name}.yy").write_text("\n".join(targets) + "\n")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Vocabularies that tests learn are no part of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def reversal(corpus) -> Translation:
    """The task of translating from one of the made-up languages into the other."""
    text = ParallelText(str(corpus), source="xx", target="yy", vocabulary=50, shared=True)
    return text.load(Path())


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
