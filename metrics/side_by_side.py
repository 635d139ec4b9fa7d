"""A pruned network timed beside the dense one, and what speaks against believing it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import nn

from .conditions import Conditions, disturbed_since, load_between, processor_times
from .metric import Measurements, Subject
from .timing import Protocol, Ratio, interleaved, ratio


def networks_of(subject: Subject) -> dict[str, nn.Module]:
    """The networks to be timed: dense, an identical copy of it, pruned, and shrunk if there is."""
    networks = {
        "dense": subject.dense,
        "control": copy.deepcopy(subject.dense),
        "pruned": subject.model,
    }
    if subject.shrunk is not None:
        networks["shrunk"] = subject.shrunk
    return networks


class SideBySide:
    """Calls of networks timed in turn.

    Args:
        calls: the call of each network, by its name in :func:`networks_of`.
        protocol: how often.
        device: where they compute.

    Attributes:
        seconds: of each network's samples.
        load: the share of the processor that other processes took meanwhile; None if unknown.
        control: dense / an identical copy.
    """

    def __init__(
        self, calls: Mapping[str, Callable[[], object]], protocol: Protocol, device: torch.device
    ) -> None:
        pairs = [("dense", name) for name in calls if name != "dense"]
        before = processor_times()
        self.seconds: dict[str, np.ndarray] = interleaved(
            dict(calls), protocol, pairs, device, hopeless=partial(disturbed_since, before)
        )
        self.load = load_between(before, processor_times())
        self.control = ratio(self.seconds["dense"], self.seconds["control"])
        self._conditions = Conditions(len(self.seconds["dense"]), self.load, self.control)

    def speedup(self, name: str) -> tuple[Ratio, str]:
        """Dense / a network, and if that cannot be believed no number and the reason why."""
        found = ratio(self.seconds["dense"], self.seconds[name])
        if doubt := self._conditions.doubt(found):
            return Ratio(math.nan, math.nan, math.nan), doubt
        return found, ""


def with_interval(name: str, found: Ratio) -> Measurements:
    """A ratio and the ends of its interval, by their names."""
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
