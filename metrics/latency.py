"""Wall-clock inference time of a network and of the same network pruned, as they are.

Masked weights are still multiplied, so a mask alone makes nothing faster, and the numbers show it.
What other runtimes and the shrunk network make of it is measured in :mod:`.runtimes`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field

from .conditions import FEWEST_SAMPLES
from .metric import Measurements, Metric, Subject, register
from .modes import inference
from .side_by_side import SideBySide, networks_of, with_interval
from .timing import Protocol


@register
@dataclass(frozen=True)
class Latency(Metric):
    """Milliseconds of one forward pass, dense and pruned, at the process's number of threads.

    A speedup that cannot be believed, because the machine was busy, is not a number.

    Args:
        batch_sizes: how many examples a forward pass takes; each size is measured.
        repeats: timed samples of each model at most.
        precision: half the width of the 95 % confidence interval of a speedup, relative to it, at
            which sampling ends.
        sample_ms: the least duration of a sample, in milliseconds.
        seconds: after which there are fewer samples, but six at least; so are there while other
            processes take more than a tenth of the processor, where no number of them is enough.
    """

    batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (1, 256)
    repeats: Annotated[int, Field(ge=3)] = 30
    precision: Annotated[float, Field(gt=0)] = 0.02
    sample_ms: Annotated[float, Field(gt=0)] = 2.0
    seconds: Annotated[float, Field(gt=0)] = 15.0

    timing = True
    definitions = {
        "latency_batch<n>_dense_ms": "median milliseconds of a forward pass of n examples, dense",
        "latency_batch<n>_dense_iqr_ms": "interquartile range of the same",
        "latency_batch<n>_pruned_ms": "median milliseconds of a forward pass, pruned",
        "latency_batch<n>_pruned_iqr_ms": "interquartile range of the same",
        "latency_batch<n>_control": "dense / an identical copy of it, as the speedup is measured",
        "latency_batch<n>_control_low": "lower end of its 95 % confidence interval",
        "latency_batch<n>_control_high": "upper end of the same",
        "latency_batch<n>_load": "share of the processor that other processes took meanwhile",
        "measured_speedup_batch<n>": "median over pairs of samples of dense / pruned",
        "measured_speedup_batch<n>_low": "lower end of its 95 % confidence interval",
        "measured_speedup_batch<n>_high": "upper end of the same",
        "measured_speedup_batch<n>_shrunk": "the same of dense / the network without the channels "
        "that are gone (only where whole channels were removed)",
        "measured_speedup_batch<n>_shrunk_low": "lower end of its 95 % confidence interval",
        "measured_speedup_batch<n>_shrunk_high": "upper end of the same",
    }

    def measure(self, subject: Subject) -> Measurements:
        """Time both models at each batch size."""
        return self.measure_and_doubt(subject)[0]

    def measure_and_doubt(self, subject: Subject) -> tuple[Measurements, dict[str, str]]:
        """The same, and by the names of those speedups that are not numbers the reason why."""
        measured: Measurements = {}
        doubts: dict[str, str] = {}
        protocol = Protocol(
            repeats=min(self.repeats, FEWEST_SAMPLES),
            most_repeats=self.repeats,
            precision=self.precision,
            sample_ms=self.sample_ms,
            most_seconds=self.seconds,
        )
        networks = networks_of(subject)
        with inference(*networks.values()):
            for size in self.batch_sizes:
                inputs = subject.task.inputs(size)
                calls = {name: partial(network, inputs) for name, network in networks.items()}
                timed = SideBySide(calls, protocol, inputs.device)
                for name in ("dense", "pruned"):
                    measured |= _summary(f"latency_batch{size}_{name}", timed.seconds[name])
                measured |= with_interval(f"latency_batch{size}_control", timed.control)
                measured[f"latency_batch{size}_load"] = (
                    math.nan if timed.load is None else timed.load
                )
                for name, suffix in (("pruned", ""), ("shrunk", "_shrunk")):
                    if name in networks:
                        label = f"measured_speedup_batch{size}{suffix}"
                        speedup, doubt = timed.speedup(name)
                        doubts |= {label: doubt} if doubt else {}
                        measured |= with_interval(label, speedup)
        return measured, doubts


def _summary(name: str, seconds: np.ndarray) -> Measurements:
    lower, median, upper = np.percentile(seconds * 1000, (25, 50, 75))
    return {f"{name}_ms": float(median), f"{name}_iqr_ms": float(upper - lower)}
