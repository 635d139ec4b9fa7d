"""How much memory a forward pass needs at its peak."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object], model: nn.Module, inputs: Tensor) -> int:
    """Bytes of the parameters, the inputs and the most that was allocated at once during ``call``.

    On a CPU that is what torch itself allocates, as its profiler sees it: what a library below it
    takes for itself is not among it. On a GPU it is the allocator's own statistics.
    """
    held = [inputs, *model.parameters(), *model.buffers()]
    standing = sum(tensor.numel() * tensor.element_size() for tensor in held)
    if inputs.is_cuda:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
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


def total_memory(device: torch.device) -> int:
    """Bytes of memory that a device has, in use or not."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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
