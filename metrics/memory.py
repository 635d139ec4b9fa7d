"""How much memory a forward pass needs at its peak."""

from __future__ import annotations

from collections.abc import Callable
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
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    assert profiler.profiler is not None  # it ran
    recorded = profiler.profiler.kineto_results
    assert recorded is not None
    events = [event for event in recorded.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return standing + max(accumulate((event.nbytes() for event in events), initial=0))
