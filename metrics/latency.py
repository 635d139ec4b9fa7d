"""Wall-clock inference time of a network and of the same network pruned, as they are.

Masked weights are still multiplied, so a mask alone makes nothing faster, and the numbers show it.
What other runtimes and the shrunk network make of it is measured in :mod:`.runtimes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field

from .metric import Measurements, Metric, Subject, register
from .modes import inference
from .timing import Protocol, interleaved, ratio

_FEWEST = 5


@register
@dataclass(frozen=True)
class Latency(Metric):
    """Milliseconds of one forward pass, dense and pruned, at the process's number of threads.

    Args:
        batch_sizes: how many examples a forward pass takes; each size is measured.
        repeats: timed samples of each model.
        sample_ms: the least duration of a sample, in milliseconds.
        seconds: after which there are fewer samples, but five at least.
    """

    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (1, 256)
    repeats: Annotated[int, Field(ge=3)] = 30
    sample_ms: Annotated[float, Field(gt=0)] = 2.0
    seconds: Annotated[float, Field(gt=0)] = 15.0

    timing = True
    definitions = {
        "latency_batch<n>_dense_ms": "median milliseconds of a forward pass of n examples, dense",
        "latency_batch<n>_dense_iqr_ms": "interquartile range of the same",
        "latency_batch<n>_pruned_ms": "median milliseconds of a forward pass, pruned",
        "latency_batch<n>_pruned_iqr_ms": "interquartile range of the same",
        "measured_speedup_batch<n>": "median over pairs of samples of dense / pruned",
        "measured_speedup_batch<n>_shrunk": "the same of dense / the network without the channels "
        "that are gone (only where whole channels were removed)",
    }

    def measure(self, subject: Subject) -> Measurements:
        """Time both models at each batch size."""
        measured: Measurements = {}
        protocol = Protocol(
            repeats=min(self.repeats, _FEWEST),
            most_repeats=self.repeats,
            precision=1e-9,  # there are as many samples as time allows, however near they are
            sample_ms=self.sample_ms,
            most_seconds=self.seconds,
        )
        networks = {"dense": subject.dense, "pruned": subject.model}
        if subject.shrunk is not None:
            networks["shrunk"] = subject.shrunk
        with inference(*networks.values()):
            for size in self.batch_sizes:
                inputs = subject.task.inputs(size)
                calls = {name: partial(network, inputs) for name, network in networks.items()}
                times = interleaved(calls, protocol, [("dense", "pruned")], inputs.is_cuda)
                for name in ("dense", "pruned"):
                    measured |= _summary(f"latency_batch{size}_{name}", times[name])
                label = f"measured_speedup_batch{size}"
                measured[label] = ratio(times["dense"], times["pruned"]).median
                if "shrunk" in times:
                    measured[f"{label}_shrunk"] = ratio(times["dense"], times["shrunk"]).median
        return measured


def _summary(name: str, seconds: np.ndarray) -> Measurements:
    lower, median, upper = np.percentile(seconds * 1000, (25, 50, 75))
    return {f"{name}_ms": float(median), f"{name}_iqr_ms": float(upper - lower)}
