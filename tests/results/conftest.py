"""Records to test with."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from prunebench.results import Failure, Record

MakeRecord = Callable[..., Record]


def _make_record(
    *,
    top1: float = 0.9,
    dense_top1: float = 0.99,
    status: str = "ok",
    quality: dict[str, str] | None = None,
    described: dict[str, dict[str, str]] | None = None,
    final: dict[str, Any] | None = None,
    dense: dict[str, Any] | None = None,
    timings: dict[str, Any] | None = None,
    doubts: dict[str, str] | None = None,
    **experiment: Any,
) -> Record:
    """A record whose id, as in the benchmark, is a hash of the experiment and of nothing else."""
    settings = {
        "dataset": "MNIST",
        "model": "LeNet5",
        "strategy": "GlobalMagnitude",
        "compression": 4.0,
        "sparsity": None,
        "rounds": 1,
        "schedule": "Geometric",
        "recovery": "FineTune",
        "pretraining": {"epochs": 20},
        "finetuning": {"epochs": 5},
        "metrics": [],
        "seed": 0,
        "threads": 1,
        "sources": {},
        **experiment,
    }
    compression = settings["compression"] or 1 / (1 - (settings["sparsity"] or 0.5))
    size = {"parameters": 1000, "flops": 8000}
    failed = status == "failed"
    return Record(
        id=hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16],
        status=status,
        error=Failure(type="ValueError", message="no", traceback="…") if failed else None,
        experiment=settings,
        quality=quality or {"top1": "higher", "loss": "lower"},
        described=described or {},
        dense={} if failed else {"top1": dense_top1, "loss": 0.03, **size, **(dense or {})},
        rounds=(),
        final={}
        if failed
        else {
            "top1": top1,
            "loss": 1 - top1,
            **size,
            "nonzero": round(1000 / compression),
            "compression": compression,
            "prunable_sparsity": 1 - 1 / compression,
            "effective_flops": 8000 / compression,
            "theoretical_speedup": compression,
            **(final or {}),
        },
        layers=(),
        collapsed_layers=("fc.weight",) if status == "collapsed" else (),
        timings=timings or {},
        doubts=doubts or {},
        environment={},
    )


@pytest.fixture
def make_record() -> MakeRecord:
    """Make a record from what matters to the test: measurements and parts of the experiment."""
    return _make_record


@pytest.fixture
def make_sweep() -> Callable[..., list[Record]]:
    """Make the records of strategies × compressions × seeds, all of one comparison."""

    def make(
        strategies: Iterable[str] = ("GlobalMagnitude", "Random"),
        compressions: Iterable[float] = (1, 2, 4),
        seeds: Iterable[int] = (0, 1, 2),
        **same: Any,
    ) -> list[Record]:
        return [
            _make_record(
                strategy=strategy,
                compression=compression,
                seed=seed,
                top1=0.99 - 0.01 * compression * place - 0.001 * seed,
                dense_top1=0.99 + 0.001 * seed,
                **same,
            )
            for place, strategy in enumerate(strategies, start=1)
            for compression in compressions
            for seed in seeds
        ]

    return make


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium of the system; tests of pages in it are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if path is None:
        pytest.skip("there is no Chromium: make test-browser installs it")
    with playwright.sync_playwright() as running:
        arguments = ["--no-sandbox", "--disable-gpu"]
        chromium = running.chromium.launch(executable_path=path, args=arguments, timeout=600_000)
        yield chromium
        chromium.close()
