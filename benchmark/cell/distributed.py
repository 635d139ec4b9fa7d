"""One cell on several devices: every process takes its part of each batch.

The processes are started by torchrun, as those of any distributed program of PyTorch, and all run
the same sweep; gradients are averaged by ``DistributedDataParallel``. What is drawn, scored and
chosen is the same in all of them, and only the first writes files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ...datasets import Batch
from ...errors import UsageError
from ...results import write_atomically


def start(on_gpu: bool = False) -> None:
    """Find the other processes, if torchrun started this one.

    Args:
        on_gpu: whether anything is to be computed on CUDA, of which each process takes a GPU.

    Raises:
        UsageError: there are fewer GPUs than processes on this machine; all of them are told so.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        return
    backend = "gloo"
    if on_gpu and torch.cuda.is_available():
        processes, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if processes > gpus:
            raise UsageError(
                f"--nproc-per-node: {processes} is not allowed: each process takes a GPU, and "
                f"there {'is' if gpus == 1 else 'are'} {gpus} here"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend)


def world_size() -> int:
    """How many processes share the work."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is; the first is 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def barrier() -> None:
    """Until all processes are here."""
    if world_size() > 1:
        distributed.barrier()


def agreed(answer: bool) -> bool:
    """The first process's answer to a question."""
    if world_size() == 1:
        return answer
    shared = [answer]
    distributed.broadcast_object_list(shared, src=0)
    return shared[0]


def gathered(own: Any) -> list[Any]:
    """What each process has, in their order."""
    if world_size() == 1:
        return [own]
    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, own)
    return found


def write(path: Path, content: bytes) -> None:
    """Write a file, which is there when this returns in any process."""
    if rank() == 0:
        write_atomically(path, content)
    barrier()


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give tensors the values that they have in the first process."""
    if world_size() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def replicated(model: nn.Module) -> nn.Module:
    """The network as it is to be run in training, so that gradients are averaged."""
    if world_size() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    wrapped: Any = DistributedDataParallel(
        model, device_ids=[torch.cuda.current_device()] if on_gpu else None
    )
    return wrapped


def unaveraged(replicated: Any) -> AbstractContextManager[None]:
    """Within it each process has the gradients of its own examples, until it averages again."""
    return nullcontext() if world_size() == 1 else replicated.no_sync()


def share(batch: Batch) -> tuple[Batch, bool]:
    """This process's part of a batch, and whether it is one.

    Where there are fewer examples than processes, some have an example that must not count, since
    all of them have to run the network.
    """
    if world_size() == 1:
        return batch, True
    part = tuple(tensor[rank() :: world_size()] for tensor in batch)
    if len(part[0]):
        return part, True  # type: ignore[return-value]
    return tuple(tensor[:1] for tensor in batch), False  # type: ignore[return-value]
