"""What tests of sweeps share: a Ray cluster of two CPUs on this machine, notes, and a clock."""

import importlib
import time
from contextlib import suppress

import pytest


@pytest.fixture(scope="session")
def ray_cluster():
    """The cluster, to which this process is connected; nodes may be added to it and removed."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        node = {"num_cpus": 2, "object_store_memory": 150_000_000, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
        ray.shutdown()
        cluster.shutdown()


class Notes:
    """What a sweep has told."""

    def __init__(self):
        self.trained, self.texts = [], []

    def train(self, epochs):
        self.trained.append(epochs)

    def describe(self, text):
        self.texts.append(text)


@pytest.fixture
def watcher():
    return Notes()


@pytest.fixture
def hours(tmp_path, monkeypatch):
    """A file: the clock by which tasks are ended is as many hours fast as it has bytes."""
    file = tmp_path / "hours"
    file.touch()

    class Clock:
        @staticmethod
        def monotonic():
            return time.monotonic() + 3600 * file.stat().st_size

    for module in ("workers", "ray_pool"):
        with suppress(ImportError):  # Ray is not installed
            importlib.import_module(f"prunebench.benchmark.sweeps.{module}")
            monkeypatch.setattr(f"prunebench.benchmark.sweeps.{module}.time", Clock)
    return file
