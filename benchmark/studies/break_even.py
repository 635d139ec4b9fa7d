"""From which sparsity on pruning pays: measured speedups of a layer or a network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ...errors import UsageError, message_of
from ...metrics import (
    FEWEST_SAMPLES,
    RUNTIMES,
    STANDARD,
    Conditions,
    InferenceTime,
    NetworkKind,
    Protocol,
    Ratio,
    Runtime,
    inference_times,
    keep_memory,
    pinned,
    work_by_weight,
    work_left,
)
from ...models import MODELS
from ...results.break_even import BREAK_EVEN_COLUMNS
from ...seeding import generator, seeded
from ...strategies import (
    NM,
    MaskedWeights,
    check_equivalence,
    couple,
    keep_largest,
    output_weights,
    prunable_weights,
    shrink,
)
from ..cell.environment import processor
from ..cell.process import threads

Networks = dict[NetworkKind, nn.Module]

_ATTEMPTS = 3


def linear(inputs: int, outputs: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A network of one linear layer, and the shape of what goes into it."""
    return nn.Sequential(nn.Linear(inputs, outputs)), (inputs,)


def network(name: str, input_shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    """A model as in an experiment with random weights; 1,000 classes if another library's.

    Raises:
        UsageError: there is no such model, or it does not take inputs of this shape.
    """
    classes = 1_000 if "/" in name else 10
    with seeded(0, "break-even", "initialisation"):
        size = {"input_shape": input_shape, "classes": classes}
        return MODELS.component(name).create(**size), input_shape


def break_even(
    title: str,
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    kinds: Sequence[str],
    sparsities: Sequence[float],
    runtimes: Sequence[str],
    batch_sizes: Sequence[int],
    cpu_threads: int = 1,
    device: str = "cpu",
    protocol: Protocol = STANDARD,
    progress: bool = True,
) -> pd.DataFrame:
    """Time a network pruned at random to each sparsity, beside the dense one.

    Which weights go does not matter for time, only how many of each layer: the same fraction of
    each, but for the last weight or channel, the output layer of a deeper network left alone. What
    is in doubt is measured again, up to three times in all, and the table has the time of which the
    least is.

    Args:
        title: what the network is called in the table.
        model: the network.
        input_shape: of one example.
        kinds: ``weights``, of which some are zero; ``2:4``, two of four consecutive weights being
            zero; and ``channels``, of which some are removed.
        sparsities: fractions of the weights, or of the channels.
        runtimes: names of runtimes; ``Eager`` is always among them.
        batch_sizes: examples in a forward pass.
        cpu_threads: CPU threads.
        device: ``cpu`` or ``cuda``.
        protocol: for how long each is timed.
        progress: whether to show a progress bar.

    Returns:
        A row for each kind, sparsity, batch size, runtime and network, with the columns of
        :data:`prunebench.results.break_even.BREAK_EVEN_COLUMNS`.

    Raises:
        UsageError: a runtime is unknown, or the channels of the network cannot be removed.
    """
    chosen: list[Runtime] = [RUNTIMES.component(name).create() for name in runtimes]
    model = model.eval().to(device)
    points = [
        (kind, sparsity) for kind in kinds for sparsity in (sparsities if kind != "2:4" else [0.5])
    ]

    def inputs(size: int) -> Tensor:
        drawn = torch.randn(size, *input_shape, generator=generator(0, "break-even", "inputs"))
        return drawn.to(device)

    # Too few samples are in doubt each time.
    attempts = _ATTEMPTS if protocol.samples >= FEWEST_SAMPLES else 1
    tables: list[pd.DataFrame] = []
    keep_memory()
    with threads(cpu_threads), pinned(cpu_threads):
        dense_flops = _flops_of_dense(title, model, inputs(1))
        for kind, sparsity in tqdm(points, unit="point", disable=not progress):

            def measured(
                sizes: Sequence[int], kind: str = kind, sparsity: float = sparsity
            ) -> pd.DataFrame:
                pruned = _PRUNED[kind](model, inputs(1), sparsity)
                flops = _effective_flops(pruned["masked"], pruned.get("shrunk"), inputs(1))
                head = {
                    "network_title": title,
                    "kind": kind,
                    "sparsity": sparsity,
                    "theoretical_speedup": dense_flops / flops,
                    "threads": cpu_threads,
                    "processor": processor(torch.device(device)),
                }
                networks: Networks = {"dense": model, **pruned}
                times = inference_times(networks, inputs, chosen, sizes, protocol)
                rows = [{**head, **_measurements(each)} for each in times]
                return pd.DataFrame(rows, columns=list(BREAK_EVEN_COLUMNS))

            tables.append(_least_doubted(measured, batch_sizes, attempts))
    return _doubted(pd.concat(tables, ignore_index=True))


def _least_doubted(
    measured: Callable[[Sequence[int]], pd.DataFrame], batch_sizes: Sequence[int], attempts: int
) -> pd.DataFrame:
    """What is measured; a batch size with times in doubt again, as often as ``attempts`` allows.

    Copies of a network lie elsewhere in memory each time, and what disturbed may have passed. For
    each runtime the attempt counts in which the fewest of its times are in doubt.
    """
    best: dict[Any, pd.DataFrame] = {}  # by batch size and runtime
    doubts: dict[Any, int] = {}
    again = list(batch_sizes)
    for _ in range(attempts):
        for place, rows in measured(again).groupby(["batch_size", "runtime"], sort=False):
            found = int((_doubted(rows)["doubt"] != "").sum())
            if found < doubts.get(place, found + 1):
                best[place], doubts[place] = rows, found
        again = [size for size in again if any(doubts[at] for at in doubts if at[0] == size)]
        if not again:
            break
    return pd.concat(best.values())


def _doubted(frame: pd.DataFrame) -> pd.DataFrame:
    """With what a network of which nothing was removed says of all others of its line.

    It is a control too, wherever the dense network was run in the same runtime: identical to it,
    and made and run as the pruned ones are.
    """
    frame = frame.copy()
    line = ["kind", "batch_size", "runtime"]
    with_dense = set(
        frame.loc[frame["network"] == "dense", line].itertuples(index=False, name=None)
    )
    untouched = frame[(frame["sparsity"] == 0) & (frame["network"] != "dense")]
    for _, row in untouched.dropna(subset=["speedup"]).iterrows():
        if tuple(row[line]) not in with_dense:
            continue
        found = Ratio(row["speedup"], row["speedup_low"], row["speedup_high"])
        doubt = Conditions(row["repeats"], None, found).doubt(found)
        same = (frame[[*line, "network"]] == row[[*line, "network"]]).all(axis=1)
        frame.loc[same & (frame["doubt"] == "") & frame["speedup"].notna(), "doubt"] = doubt
    return frame


def _flops_of_dense(title: str, model: nn.Module, inputs: Tensor) -> float:
    """The multiply–adds of a network.

    Raises:
        UsageError: it cannot be run on such inputs, as one of tokens on numbers.
    """
    try:
        return _effective_flops(model, None, inputs)
    except Exception as error:  # whatever a network's code raises on what it cannot take
        shape = "×".join(map(str, inputs.shape[1:]))
        raise UsageError(
            f"{title} does not run on an example of {shape} numbers ({message_of(error)}): give "
            "another --input-shape, or a network that takes images"
        ) from error


def _effective_flops(masked: nn.Module, shrunk: nn.Module | None, inputs: Tensor) -> float:
    work = work_left(work_by_weight(masked, inputs), shrunk, inputs)
    return sum(each.effective for each in work)


def _measurements(time: InferenceTime) -> dict[str, Any]:
    return {name: value for name, value in time._asdict().items() if name in BREAK_EVEN_COLUMNS}


def _pruned_names(model: nn.Module) -> list[str]:
    """All weights but those of the output layer, unless that is all there is."""
    names = prunable_weights(model)
    return [name for name in names if name not in output_weights(model)] or names


def _without_weights(model: nn.Module, example: Tensor, sparsity: float) -> Networks:
    """The network with a fraction of the weights of each layer set to zero, but one at least."""
    masked = copy.deepcopy(model)
    weights = dict(masked.named_parameters())
    lots = generator(0, "break-even", "weights")
    masks = {}
    for name in _pruned_names(masked):
        drawn = torch.rand(weights[name].numel(), generator=lots)
        left = max(1, len(drawn) - round(sparsity * len(drawn)))
        kept = keep_largest(drawn, left, lots)
        masks[name] = kept.view(weights[name].shape).to(weights[name].device)
    MaskedWeights(masked, masks).apply()
    return {"masked": masked}


def _two_of_four(model: nn.Module, example: Tensor, sparsity: float) -> Networks:
    """The network with two of any four consecutive weights set to zero."""
    masked = copy.deepcopy(model)
    weights = dict(masked.named_parameters())
    lots = generator(0, "break-even", "2:4")
    masks = {}
    for name in _pruned_names(masked):
        weight = weights[name]
        drawn = torch.rand(weight.shape, generator=lots).to(weight.device)
        masks[name] = NM(2, 4).admissible(drawn, torch.ones_like(drawn, dtype=torch.bool))
    MaskedWeights(masked, masks).apply()
    return {"masked": masked}


def _without_channels(model: nn.Module, example: Tensor, sparsity: float) -> Networks:
    """The network with a fraction of the channels of each group masked, and without them."""
    coupling = couple(model, example, _pruned_names(model))
    if not coupling.channels:
        raise UsageError(
            f"{type(model).__name__} has no channels that could be removed; give --kinds weights"
        )
    lots = generator(0, "break-even", "channels")
    kept = []
    for group in coupling.groups.values():
        count = group.stop - group.start
        left = max(1, count - round(sparsity * count))
        kept.append(keep_largest(torch.rand(count, generator=lots), left, lots))
    stays = torch.cat(kept)
    masked = copy.deepcopy(model)
    MaskedWeights(masked, coupling.masks(masked, stays)).apply()
    shrunk = shrink(masked, coupling, stays)
    check_equivalence(masked, shrunk, example)
    return {"masked": masked, "shrunk": shrunk}


_PRUNED: dict[str, Callable[[nn.Module, Tensor, float], Networks]] = {
    "weights": _without_weights,
    "2:4": _two_of_four,
    "channels": _without_channels,
}
KINDS = tuple(_PRUNED)
"""What may be pruned."""
