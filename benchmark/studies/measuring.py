"""Measuring the inference time of finished runs, one after the other on an idle machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from ...errors import UsageError
from ...metrics import (
    RUNTIMES,
    STANDARD,
    InferenceTime,
    Measurements,
    NetworkKind,
    Protocol,
    Runtime,
    UnsupportedError,
    inference,
    inference_times,
    keep_memory,
    pass_times,
    pinned,
)
from ...results import Inference, Place, Record, Store
from ...results.brief import title
from ...results.record_file import RECORDS_FILE
from ...seeding import generator
from ..cell.environment import environment, processor
from ..cell.evaluation import quality
from ..cell.process import threads
from ..sweeps.sweep import data_folder
from .restoring import Restored, experiment_of, restore

_EXAMPLES = 128

DEFAULT_RUNTIMES = ("Eager", "Compiled", "OnnxRuntime", "SparseCSR")


def measure(
    records: Iterable[Record],
    *,
    runs: str | Place = "runs",
    data: str | Path | None = None,
    runtimes: Sequence[str] = DEFAULT_RUNTIMES,
    batch_sizes: Sequence[int] = (1, 256),
    protocol: Protocol = STANDARD,
    passes: int = 0,
    device: str = "cpu",
    progress: bool = True,
    trust: bool = False,
) -> list[Record]:
    """Time the networks of finished runs in each runtime, and save it in their records.

    Each run is measured with the threads of its experiment, on as many processor cores. What was
    measured before is replaced; all else in the record stays.

    Args:
        records: finished runs; failed ones are passed over.
        runs: the folder of the records, and of the weights.
        data: the folder of data sets.
        runtimes: names of runtimes; ``Eager`` is always among them.
        batch_sizes: examples in a forward pass; each is measured.
        protocol: for how long.
        passes: whole passes over the test split to time in ``Eager`` as well, at each batch size:
            two at least, or 0 for none.
        device: ``cpu`` or ``cuda``, whatever the runs were trained on.
        progress: whether to show a progress bar.
        trust: whether Python from outside prunebench that a record names may be executed.

    Raises:
        UsageError: a runtime is unknown, one pass alone is asked for, the weights of a run are not
            there, or it would execute code that is not trusted or has changed since.
    """
    if passes == 1:
        raise UsageError("passes: 1 is not allowed: an interval needs at least 2; 0 is for none")
    chosen: list[Runtime] = [RUNTIMES.component(name).create() for name in runtimes]
    store, folder = Store(runs), data_folder(data)
    finished = [record for record in records if record.finished]
    if not finished:
        if (store.place / RECORDS_FILE).is_file():
            raise UsageError(
                f"{store.place} is published, and has no weights to measure: give the folder of "
                "runs"
            )
        raise UsageError(f"there are no finished runs to measure in {store.place}")
    for record in finished:
        experiment_of(record, trust=trust)  # complains now, and not after hours
    keep_memory()
    measured = []
    bar = tqdm(finished, unit="run", disable=not progress)
    for record in bar:
        bar.set_description(title(record.experiment))
        restored = restore(record, store, folder, device, trust=trust)
        measured.append(_measured(record, restored, chosen, batch_sizes, protocol, passes))
        store.save(measured[-1])
    return measured


def _measured(
    record: Record,
    restored: Restored,
    runtimes: Sequence[Runtime],
    batch_sizes: Sequence[int],
    protocol: Protocol,
    passes: int,
) -> Record:
    count = restored.experiment.threads

    def split(batch_size: int) -> Iterator[Tensor]:
        return (inputs for inputs, _ in restored.task.batches("test", batch_size))

    examples = _examples(restored)
    with threads(count), pinned(count) as cores:
        times = list(
            inference_times(
                restored.networks, restored.task.inputs, runtimes, batch_sizes, protocol, examples
            )
        )
        if passes:
            times += pass_times(restored.networks, split, passes, batch_sizes)
        qualities = _qualities(restored, times, runtimes, examples)
        rows = tuple(
            Inference(**each._asdict(), quality=qualities.get((each.runtime, each.network)))
            for each in times
        )
        device = restored.task.device
        where = {**environment(device.type), "pinned_to_cores": cores}
        where["processor"] = processor(device)
    return record.model_copy(update={"inference": rows, "inference_environment": where})


def _examples(restored: Restored) -> Tensor:
    """Training examples, for runtimes that must know what values there will be."""
    lots = generator(restored.experiment.seed, "measure", "examples")
    return next(iter(restored.task.batches("train", _EXAMPLES, lots)))[0]


def _qualities(
    restored: Restored,
    times: Iterable[InferenceTime],
    runtimes: Sequence[Runtime],
    examples: Tensor,
) -> dict[tuple[str, NetworkKind], Measurements]:
    """What becomes of the quality of those networks that ran in a runtime that rounds.

    Empty where it cannot take batches of any size, as the metric's own are.
    """
    ran = {(each.runtime, each.network) for each in times if not each.reason}
    found: dict[tuple[str, NetworkKind], Measurements] = {}
    for runtime in runtimes:
        for kind, network in restored.networks.items():
            if (str(runtime), kind) not in ran:
                continue
            try:
                with inference(network):
                    rounded = runtime.rounded(network, examples)
            except UnsupportedError:
                found[str(runtime), kind] = {}
                continue
            if rounded is not None:
                found[str(runtime), kind] = quality(rounded, restored.task, "test")
    return found
