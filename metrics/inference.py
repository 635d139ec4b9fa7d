"""Inference time of a pruned network in several runtimes, beside the dense one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..networks import relative_difference
from .conditions import Conditions, load_between, processor_times
from .memory import peak_bytes, total_memory
from .modes import inference
from .runtimes import Eager, NetworkKind, Run, Runtime, UnsupportedError
from .timing import (
    STANDARD,
    Protocol,
    Ratio,
    interleaved,
    ratio,
    ratio_of_means,
    whole_passes,
)


class InferenceTime(NamedTuple):
    """A network in a runtime at a batch size: its time, or the reason why there is none.

    Attributes:
        runtime: as it is named on the command line.
        network: ``dense``, ``masked`` (with its zeros) or ``shrunk`` (without the channels that are
            gone).
        batch_size: examples in a forward pass.
        memory_format: of images in torch's own runtimes: that in which dense and pruned are fast.
        median_ms: milliseconds of a forward pass, the median of the samples.
        iqr_ms: the interquartile range of the same.
        repeats: how many samples.
        speedup: of the dense network in the same runtime over this one (in ``Eager``, where the
            runtime is no use to a dense network): the median ratio of samples taken in turn.
        speedup_low: lower end of its 95 % confidence interval.
        speedup_high: upper end.
        speedup_over_eager: the same over the dense network in ``Eager``.
        speedup_over_eager_low: lower end of its 95 % confidence interval.
        speedup_over_eager_high: upper end.
        peak_bytes: memory at the peak of a forward pass; only known in ``Eager``.
        difference: the largest difference of outputs from those of the same network in ``Eager``,
            relative to the largest output.
        reason: why there is no time.
        passes: whole passes over the test split, where it was these that were timed; then the
            speedups are ratios of mean times, and there is no median.
        pass_seconds: mean seconds of such a pass.
        control: the speedup of an identical copy of the dense network over it, in the runtime that
            ``speedup`` is relative to.
        control_low: lower end of its 95 % confidence interval.
        control_high: upper end.
        load: share of the processor that other processes took meanwhile.
        doubt: why the speedups cannot be believed (:meth:`.conditions.Conditions.doubt`); empty if
            they can.
    """

    runtime: str
    network: NetworkKind
    batch_size: int
    memory_format: str = ""
    median_ms: float | None = None
    iqr_ms: float | None = None
    repeats: int | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    speedup_over_eager: float | None = None
    speedup_over_eager_low: float | None = None
    speedup_over_eager_high: float | None = None
    peak_bytes: int | None = None
    difference: float | None = None
    reason: str = ""
    passes: int | None = None
    pass_seconds: float | None = None
    control: float | None = None
    control_low: float | None = None
    control_high: float | None = None
    load: float | None = None
    doubt: str = ""


_Kind = NetworkKind | Literal["control"]
_Place = tuple[Runtime, _Kind]
_REFERENCE: _Place = (Eager(), "dense")


def inference_times(
    networks: Mapping[NetworkKind, nn.Module],
    inputs: Callable[[int], Tensor],
    runtimes: Sequence[Runtime],
    batch_sizes: Sequence[int] = (1, 256),
    protocol: Protocol = STANDARD,
    examples: Tensor | None = None,
) -> Iterator[InferenceTime]:
    """Time all networks in all runtimes, batch size by batch size, against each other.

    ``Eager`` is always among the runtimes and runs all networks. Others run the dense network and
    the shrunk one, or the masked one where there is no shrunk one. Before a network is timed in a
    runtime its output is compared with that in ``Eager``. Wherever the dense network is run, an
    identical copy of it is too, by which it is judged whether the times can be believed.

    Args:
        networks: ``dense``, ``masked`` and, where whole channels were removed, ``shrunk``.
        inputs: gives a batch of a size.
        runtimes: in what to run them.
        batch_sizes: examples in a forward pass.
        protocol: for how long.
        examples: a batch of training examples, for runtimes that must know what values there will
            be; without it they learn that from what they are timed on.

    Raises:
        UsageError: a batch would need more memory than there is.
    """
    everywhere = [Eager(), *(each for each in runtimes if each != Eager())]
    with inference(networks["dense"]):
        _check_memory(networks["dense"], inputs, max(batch_sizes, default=0))
    for batch, memory_format, ready in _prepared_batches(networks, inputs, batch_sizes):
        yield from _at_batch_size(ready, batch, examples, everywhere, protocol, memory_format)


def pass_times(
    networks: Mapping[NetworkKind, nn.Module],
    split: Callable[[int], Iterable[Tensor]],
    passes: int,
    batch_sizes: Sequence[int] = (1, 256),
) -> Iterator[InferenceTime]:
    """Time all networks in ``Eager`` over a whole split, batch size by batch size.

    Args:
        networks: as for :func:`inference_times`.
        split: gives the batches of a pass, in batches of a size; making them is not timed.
        passes: of each network, two at least.
        batch_sizes: examples in a forward pass.
    """

    def first(size: int) -> Tensor:
        return next(iter(split(size)))

    for batch, memory_format, ready in _prepared_batches(networks, first, batch_sizes):
        yield from _over_a_split(ready, batch, split, passes, memory_format)


def _prepared_batches(
    networks: Mapping[NetworkKind, nn.Module],
    inputs: Callable[[int], Tensor],
    batch_sizes: Sequence[int],
) -> Iterator[tuple[Tensor, torch.memory_format, dict[_Kind, nn.Module]]]:
    """At each batch size a batch, its memory format, and the networks in it with the control."""
    everything: dict[_Kind, nn.Module] = {"control": copy.deepcopy(networks["dense"])}
    everything.update(networks.items())
    with inference(*everything.values()):
        for size in batch_sizes:
            batch = inputs(size)
            memory_format = _faster_format(networks, batch)
            # The networks are in that format as well, for as long as this batch size is timed.
            with _formatted(everything, memory_format):
                yield _in_format(batch, memory_format), memory_format, everything


def _over_a_split(
    networks: Mapping[_Kind, nn.Module],
    batch: Tensor,
    split: Callable[[int], Iterable[Tensor]],
    passes: int,
    memory_format: torch.memory_format,
) -> Iterator[InferenceTime]:
    def batches() -> Iterator[Tensor]:
        return (_in_format(each, memory_format) for each in split(len(batch)))

    before = processor_times()
    times = whole_passes(
        {str(kind): each for kind, each in networks.items()}, batches, passes, batch.device
    )
    load = load_between(before, processor_times())
    control = ratio_of_means(times["dense"], times["control"])
    conditions = Conditions(passes, load, control)
    for kind in networks:
        if kind == "control":
            continue
        speedup = ratio_of_means(times["dense"], times[kind])
        head = InferenceTime(str(Eager()), kind, len(batch), _format_name(batch, memory_format))
        yield _judged(head, speedup, speedup, conditions)._replace(
            passes=passes, pass_seconds=float(times[kind].mean())
        )


def _check_memory(model: nn.Module, inputs: Callable[[int], Tensor], size: int) -> None:
    """Refuse a batch for which the memory that one example needs, as often, is not there."""
    one, two = (inputs(count).contiguous() for count in (1, 2))
    each = peak_bytes(lambda: model(two), model, two) - peak_bytes(lambda: model(one), model, one)
    needed, there = each * size, total_memory(one.device)
    if needed > there:
        raise UsageError(
            f"--batch-sizes: {size} is not allowed: a forward pass would need about "
            f"{needed / 1e9:,.0f} GB of memory, and there are {there / 1e9:,.0f} GB"
        )


def _at_batch_size(
    networks: Mapping[_Kind, nn.Module],
    inputs: Tensor,
    examples: Tensor | None,
    runtimes: Sequence[Runtime],
    protocol: Protocol,
    memory_format: torch.memory_format,
) -> Iterator[InferenceTime]:
    prepared, reasons = _all_prepared(networks, inputs, examples, runtimes)
    runs = {place: run for place, (run, _) in prepared.items()}
    baselines = {place: _baseline(place, runs) for place in runs}
    before = processor_times()
    times = interleaved(
        {_name(place): run for place, run in runs.items()},
        protocol,
        [(_name(baselines[place]), _name(place)) for place in runs if place != baselines[place]],
        inputs.device,
    )
    load = load_between(before, processor_times())
    for place in [*runs, *reasons]:
        runtime, kind = place
        if kind == "control":
            continue
        form = _format_name(inputs, memory_format)
        head = InferenceTime(str(runtime), kind, len(inputs), form)
        if place in reasons:
            yield head._replace(reason=reasons[place])
            continue
        seconds, baseline = times[_name(place)], baselines[place]
        identical = times.get(_name((baseline[0], "control")))
        control = None if identical is None else ratio(times[_name(baseline)], identical)
        lower, median, upper = np.percentile(seconds * 1000, (25, 50, 75))
        yield _judged(
            head,
            ratio(times[_name(baseline)], seconds),
            ratio(times[_name(_REFERENCE)], seconds),
            Conditions(len(seconds), load, control),
        )._replace(
            median_ms=float(median),
            iqr_ms=float(upper - lower),
            repeats=len(seconds),
            peak_bytes=_peak(place, runs[place], networks[kind], inputs),
            difference=prepared[place][1],
        )


def _judged(
    head: InferenceTime, speedup: Ratio, over_eager: Ratio, conditions: Conditions
) -> InferenceTime:
    """With the speedups, and what was seen meanwhile."""
    control = conditions.control
    return head._replace(
        speedup=speedup.value,
        speedup_low=speedup.low,
        speedup_high=speedup.high,
        speedup_over_eager=over_eager.value,
        speedup_over_eager_low=over_eager.low,
        speedup_over_eager_high=over_eager.high,
        control=control and control.value,
        control_low=control and control.low,
        control_high=control and control.high,
        load=conditions.load,
        doubt=conditions.doubt(speedup),
    )


def _kinds(runtime: Runtime, networks: Mapping[_Kind, nn.Module]) -> list[_Kind]:
    """The networks that a runtime is tried with."""
    if runtime == Eager():
        return list(networks)
    takes_shrunk = "shrunk" in networks and not runtime.uses_zeros
    pruned: _Kind = "shrunk" if takes_shrunk else "masked"
    return ["dense", "control", pruned] if runtime.runs_dense else [pruned]


def _baseline(place: _Place, runs: Mapping[_Place, Run]) -> _Place:
    """What a speedup is relative to."""
    same: _Place = (place[0], "dense")
    return same if same in runs else _REFERENCE


def _all_prepared(
    networks: Mapping[_Kind, nn.Module],
    inputs: Tensor,
    examples: Tensor | None,
    runtimes: Sequence[Runtime],
) -> tuple[dict[_Place, tuple[Run, float]], dict[_Place, str]]:
    """What runs each network in each runtime, and how far it is off, or why nothing does."""
    found: dict[_Place, tuple[Run, float]] = {}
    reasons: dict[_Place, str] = {}
    for runtime in runtimes:
        runtime.forget()
        for kind in _kinds(runtime, networks):
            try:
                found[runtime, kind] = _prepared(runtime, networks[kind], inputs, examples)
            except UnsupportedError as unsupported:
                reasons[runtime, kind] = str(unsupported)
    return found, reasons


def _prepared(
    runtime: Runtime, model: nn.Module, inputs: Tensor, examples: Tensor | None
) -> tuple[Run, float]:
    """What runs the model, once it is known to compute the same."""
    expected = model(inputs).float()
    try:
        run = runtime.prepare(model, inputs, examples)
        got = run().float()
    except UnsupportedError:
        raise
    except Exception as error:  # whatever a compiler or a runtime raises
        raise UnsupportedError.because("not run", error) from error
    difference = relative_difference(got, expected)
    if not difference <= runtime.tolerance:
        raise UnsupportedError(
            f"its outputs differ from those of Eager by {difference:.1e} of the largest"
        )
    return run, difference


def _peak(place: _Place, run: Run, model: nn.Module, inputs: Tensor) -> int | None:
    return peak_bytes(run, model, inputs) if place[0] == Eager() else None


def _name(place: _Place) -> str:
    return f"{place[0]} {place[1]}"


def _format_name(inputs: Tensor, memory_format: torch.memory_format) -> str:
    """Empty where inputs are no images."""
    name = str(memory_format).removeprefix("torch.").removesuffix("_format")
    return name if inputs.ndim == 4 else ""


def _in_format(inputs: Tensor, memory_format: torch.memory_format) -> Tensor:
    return inputs.contiguous(memory_format=memory_format) if inputs.ndim == 4 else inputs


# What channels last must gain: a choice between equals would differ from time to time.
_CLEARLY = 1.05
_FORMATS = (torch.contiguous_format, torch.channels_last)


def _faster_format(
    networks: Mapping[NetworkKind, nn.Module], inputs: Tensor
) -> torch.memory_format:
    """Channels last where it makes dense and pruned faster; rows of pixels otherwise."""
    if inputs.ndim != 4:
        return torch.contiguous_format
    kinds: dict[str, nn.Module] = {
        "dense": networks["dense"],
        "pruned": networks.get("shrunk", networks["masked"]),
    }
    calls = {
        f"{kind} {form}": partial(
            copy.deepcopy(network).to(memory_format=form), inputs.contiguous(memory_format=form)
        )
        for kind, network in kinds.items()
        for form in _FORMATS
    }
    times = interleaved(calls, Protocol(15, 15), device=inputs.device)
    contiguous, channels_last = ([times[f"{kind} {form}"] for kind in kinds] for form in _FORMATS)
    gains = map(ratio, contiguous, channels_last)
    return _FORMATS[all(gain.value > _CLEARLY for gain in gains)]


@contextmanager
def _formatted(
    networks: Mapping[_Kind, nn.Module], memory_format: torch.memory_format
) -> Iterator[None]:
    """The networks with their kernels in a memory format, and afterwards as they were."""
    parameters = [each for network in networks.values() for each in network.parameters()]
    kernels = [(each, each.data) for each in parameters if each.ndim == 4]
    with torch.inference_mode(False):  # tensors made in it could not be trained any more
        for kernel, before in kernels:
            kernel.data = before.contiguous(memory_format=memory_format)
    try:
        yield
    finally:
        for kernel, before in kernels:
            kernel.data = before
