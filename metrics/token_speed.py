"""How many tokens a language model scores and generates in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field
from torch import nn

from ..datasets import Task
from ..errors import UsageError
from ..protocols import Generates, declared
from .conditions import FEWEST_SAMPLES
from .metric import Measurements, Metric, Subject, register
from .modes import inference
from .side_by_side import SideBySide, networks_of, with_interval
from .timing import Protocol


def _numbers(what: str) -> Iterator[tuple[str, str]]:
    """The names and definitions of what is measured of something that takes tokens."""
    for network in ("dense", "pruned", "shrunk"):
        yield (
            f"{network}_tokens_per_second",
            f"median tokens per second of {what}, {network} (shrunk: only where whole channels "
            "were removed)",
        )
    for name, ratio in (
        ("control", "dense / an identical copy of it"),
        ("speedup", "dense / pruned"),
        ("speedup_shrunk", "dense / the network without the channels that are gone"),
    ):
        yield name, f"median over pairs of samples of the time of {what}, {ratio}"
        yield f"{name}_low", "lower end of its 95 % confidence interval"
        yield f"{name}_high", "upper end of the same"


@register
@dataclass(frozen=True)
class TokenSpeed(Metric):
    """Tokens per second of a language model, dense and pruned, at the process's number of threads.

    Scoring is a forward pass over whole blocks, as perplexity needs it; generation adds the most
    probable token again and again. Speedups are measured as those of ``Latency`` are, and are no
    numbers where they cannot be believed.

    Args:
        batch_size: texts at once.
        prompt: tokens of a text before the first that is generated.
        tokens: how many are generated in each.
        repeats: timed samples of each network at most.
        seconds: after which there are fewer samples, but six at least.
    """

    batch_size: Annotated[int, Field(ge=1)] = 1
    prompt: Annotated[int, Field(ge=1)] = 16
    tokens: Annotated[int, Field(ge=1)] = 32
    repeats: Annotated[int, Field(ge=3)] = 30
    seconds: Annotated[float, Field(gt=0)] = 15.0

    timing = True
    definitions = {
        **{f"scoring_{name}": text for name, text in _numbers("a forward pass over whole blocks")},
        **{f"generation_{name}": text for name, text in _numbers("adding the most probable one")},
    }

    def check(self, task: Task, model: nn.Module) -> None:
        """The model must ``generate``, and a block have room for what is generated."""
        if declared(model, Generates) is None:
            raise UsageError(
                f"metric TokenSpeed is not possible here: {type(model).__name__} has no "
                "generate(), as GPT and causal language models of transformers have"
            )
        (length,) = task.input_shape
        if self.prompt + self.tokens > length:
            raise UsageError(
                f"metric TokenSpeed: tokens: {self.tokens} is not allowed: a block has {length} "
                f"tokens, and the prompt is {self.prompt} of them"
            )

    def measure(self, subject: Subject) -> Measurements:
        """Time scoring and generation of all networks."""
        return self.measure_and_doubt(subject)[0]

    def measure_and_doubt(self, subject: Subject) -> tuple[Measurements, dict[str, str]]:
        """The same, and by the names of those speedups that are not numbers the reason why."""
        networks = networks_of(subject)
        blocks = subject.task.inputs(self.batch_size)
        prompts = blocks[:, : self.prompt]
        scoring = {name: partial(network, blocks) for name, network in networks.items()}
        generation = {
            name: partial(_generating(network), prompts, self.tokens)
            for name, network in networks.items()
        }
        protocol = Protocol(
            repeats=min(self.repeats, FEWEST_SAMPLES),
            most_repeats=self.repeats,
            most_seconds=self.seconds,
        )
        measured: Measurements = {}
        doubts: dict[str, str] = {}
        with inference(*networks.values()):
            for what, calls, count in (
                ("scoring", scoring, blocks.numel()),
                ("generation", generation, self.batch_size * self.tokens),
            ):
                timed = SideBySide(calls, protocol, blocks.device)
                measured |= with_interval(f"{what}_control", timed.control)
                for name, suffix in (("dense", ""), ("pruned", ""), ("shrunk", "_shrunk")):
                    if name not in networks:
                        continue
                    speed = count / float(np.median(timed.seconds[name]))
                    measured[f"{what}_{name}_tokens_per_second"] = speed
                    if name == "dense":
                        continue
                    speedup, doubt = timed.speedup(name)
                    measured |= with_interval(f"{what}_speedup{suffix}", speedup)
                    doubts |= {f"{what}_speedup{suffix}": doubt} if doubt else {}
        return measured, doubts


def _generating(network: nn.Module) -> Callable[..., object]:
    generator = declared(network, Generates)
    assert generator is not None  # which check() asks for
    return generator.generate
