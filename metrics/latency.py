"""Wall-clock inference time, measured so that it can be believed.

The dense and the pruned model are timed in turn, so that whatever slows the machine down meets
both; each sample repeats the forward pass until the clock's resolution does not matter; the median
and the interquartile range are reported, and the speedup is the median of the pairwise ratios.
Masked weights are still multiplied, so a mask alone makes nothing faster, and the numbers show it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from .metric import Measurements, Metric, Subject, register
from .modes import inference


@register
@dataclass(frozen=True)
class Latency(Metric):
    """Milliseconds of one forward pass, dense and pruned, at the process's number of threads.

    Args:
        batch_sizes: how many examples a forward pass takes; each size is measured.
        repeats: timed samples of each model.
        sample_ms: the least duration of a sample, in milliseconds.
    """

    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (1, 256)
    repeats: Annotated[int, Field(ge=3)] = 30
    sample_ms: Annotated[float, Field(gt=0)] = 2.0

    timing = True
    definitions = {
        "latency_batch<n>_dense_ms": "median milliseconds of a forward pass of n examples, dense",
        "latency_batch<n>_dense_iqr_ms": "interquartile range of the same",
        "latency_batch<n>_pruned_ms": "median milliseconds of a forward pass, pruned",
        "latency_batch<n>_pruned_iqr_ms": "interquartile range of the same",
        "measured_speedup_batch<n>": "median over pairs of samples of dense / pruned",
    }

    def measure(self, subject: Subject) -> Measurements:
        """Time both models at each batch size."""
        measured: Measurements = {}
        with inference(subject.model, subject.dense):
            for size in self.batch_sizes:
                inputs = subject.task.inputs(size)
                dense, pruned = self._in_turn(subject.dense, subject.model, inputs)
                label = f"batch{size}"
                measured |= _summary(f"latency_{label}_dense", dense)
                measured |= _summary(f"latency_{label}_pruned", pruned)
                measured[f"measured_speedup_{label}"] = float(np.median(dense / pruned))
        return measured

    def _in_turn(
        self, dense: nn.Module, pruned: nn.Module, inputs: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """Seconds of a forward pass in each sample, of both models, sampled alternately."""
        models = (lambda: dense(inputs), lambda: pruned(inputs))
        # Calibrating runs each model for a few samples' time: it is the warm-up as well.
        passes = max(self._passes_in_a_sample(forward) for forward in models)
        times = np.empty((2, self.repeats))
        for repeat in range(self.repeats):
            # Taking turns at going first, so that neither always follows the other.
            for index in (0, 1) if repeat % 2 == 0 else (1, 0):
                times[index, repeat] = _seconds(models[index], passes) / passes
        return times[0], times[1]

    def _passes_in_a_sample(self, forward: Callable[[], Tensor]) -> int:
        passes = 1
        while (elapsed := _seconds(forward, passes)) < self.sample_ms / 1000:
            needed = passes * self.sample_ms / 1000 / max(elapsed, 1e-6)
            passes = max(passes + 1, min(10 * passes, round(1.1 * needed)))
        return passes


def _seconds(forward: Callable[[], Tensor], passes: int) -> float:
    start = time.perf_counter()
    for _ in range(passes):
        forward()
    return time.perf_counter() - start


def _summary(name: str, seconds: np.ndarray) -> Measurements:
    lower, median, upper = np.percentile(seconds * 1000, (25, 50, 75))
    return {f"{name}_ms": float(median), f"{name}_iqr_ms": float(upper - lower)}
