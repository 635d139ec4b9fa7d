"""How much memory a forward pass, or a piece of work, needs at its peak."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from ..devices import finish


def peak_bytes(call: Callable[[], object], model: nn.Module, inputs: Tensor) -> int:
    """Bytes of the parameters, the inputs and the most that was allocated at once during ``call``.

    On a CPU that is what torch itself allocates, as its profiler sees it: what a library below it
    takes for itself is not among it. On a GPU it is the allocator's own statistics.
    """
    held = [inputs, *model.parameters(), *model.buffers()]
    standing = sum(tensor.numel() * tensor.element_size() for tensor in held)
    if inputs.is_cuda:
        finish(inputs.device)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        finish(inputs.device)
        return standing + torch.cuda.max_memory_allocated() - before
    with (
        _silenced_stderr(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler,
    ):
        call()
    assert profiler.profiler is not None  # it ran
    recorded = profiler.profiler.kineto_results
    assert recorded is not None
    events = [event for event in recorded.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return standing + max(accumulate((event.nbytes() for event in events), initial=0))


class Peak:
    """Memory at the peak of a piece of work, beyond what was held when it began.

    Attributes:
        bytes: None where that is not told.
    """

    bytes: int | None = None


@contextmanager
def peak_within(device: torch.device) -> Iterator[Peak]:
    """The memory that is taken inside.

    On a GPU it is what torch allocates there. On Linux it is the resident memory of this process,
    which other threads take too and which is told to about a megabyte; what is free has been given
    back to the system first. Elsewhere it is not known.
    """
    peak = Peak()
    if device.type == "cuda":
        finish(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        finish(device)
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
    elif _count_resident_from_here():
        before = _resident("VmRSS")
        yield peak
        peak.bytes = max(_resident("VmHWM") - before, 0)
    else:
        yield peak


def total_memory(device: torch.device) -> int:
    """Bytes of memory that a device has, in use or not."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _count_resident_from_here() -> bool:
    """Give free memory back and have the peak of what is resident counted anew, if that is told."""
    library = ctypes.CDLL(None)
    try:
        if hasattr(library, "malloc_trim"):
            library.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        return min(_resident("VmRSS"), _resident("VmHWM")) > 0
    except OSError:
        return False


def _resident(name: str) -> int:
    """Bytes that the system tells of this process, 0 where it tells none."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Keep off the terminal what the profiler's library says of itself, below Python's streams."""
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)
