"""The memory that pruning a deep transformer takes, layer by layer in sequence and all at once.

    python performance/calibration_memory.py
    python performance/calibration_memory.py --depth 24 --strategies 'Wanda(sequential=True)'

Half of the weights in the blocks of an untrained GPT are removed, by each strategy in a process of
its own. Memory is the peak beyond what that process held before (the network, and masks of all its
weights), and is told in blocks: in units of the weights of one. Where the C library is glibc, what
is freed goes back to the system at once there, so that only what is in use counts.
"""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Callable
from functools import partial

import torch
from tabulate import tabulate

from prunebench.datasets import Split, Task
from prunebench.datasets.language import LanguageModelling, Stream
from prunebench.models import GPT
from prunebench.performance.forks import Cost, cost, forked
from prunebench.seeding import generator
from prunebench.strategies import STRATEGIES, Context, find_prunable, full_masks, kept

_TOKENS = 256
_MMAP_THRESHOLD = -3  # of mallopt, as glibc numbers its options


def main() -> None:
    """Print a line for each strategy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--depth", type=int, default=12, help="blocks of the network")
    parser.add_argument("--width", type=int, default=768, help="features of a token")
    parser.add_argument("--length", type=int, default=64, help="tokens of a sequence")
    parser.add_argument(
        "--strategies",
        nargs="+",
        default=[
            "LayerMagnitude",
            "Wanda(batches=4, batch_size=2, sequential=True)",
            "Wanda(batches=4, batch_size=2)",
            "SparseGPT(batches=4, batch_size=2)",
            "SparseGPT(batches=4, batch_size=2, sequential=False)",
        ],
    )
    options = parser.parse_args()
    torch.set_num_threads(1)  # a process that has others cannot be forked
    torch.manual_seed(0)
    shape, width, hidden = (options.length,), options.width, 4 * options.width
    gpt = partial(GPT, input_shape=shape, classes=_TOKENS, width=width, hidden=hidden, heads=6)
    one, model = gpt(depth=1, dropout=0.0), gpt(depth=options.depth, dropout=0.0)
    weights = sum(each.numel() * each.element_size() for each in model.blocks[0].parameters())
    print(f"GPT of {options.depth} blocks of {weights / 1e6:.1f} MB, half of their weights removed")
    rows = []
    for strategy in options.strategies:
        taken = forked(partial(_cost, one, model, _text(options.length), strategy))
        rows.append((strategy, taken.seconds, taken.bytes / 1e6, taken.bytes / weights))
    print(tabulate(rows, ("strategy", "seconds", "MB", "blocks"), floatfmt=".2f"))


def _text(length: int) -> Task:
    """A text of letters drawn by lot."""
    tokens = torch.randint(_TOKENS, (64 * length,), generator=generator(0, "random text"))
    stream = Stream(tokens, words=1, bytes=len(tokens))
    splits: dict[Split, Stream] = {"train": stream, "validation": stream, "test": stream}
    return LanguageModelling(splits, _TOKENS, length, length, "bytes")


def _cost(one: GPT, model: GPT, task: Task, name: str) -> Cost:
    """What a pruning costs, after that of a single block has had torch load what it needs."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, 128 << 10)
    _pruning(one, task, name)()
    return cost(_pruning(model, task, name))


def _pruning(model: GPT, task: Task, name: str) -> Callable[[], object]:
    strategy = STRATEGIES.component(name).create()
    found = find_prunable(model, task.inputs(1))
    weights = dict(model.named_parameters())
    names = strategy.removable(model, found)
    masks = full_masks({each: weights[each] for each in names if each.startswith("blocks.")})
    context = Context(model, task, masks, found.outputs, generator(0))
    return partial(strategy.prune, context, kept(masks) // 2)


if __name__ == "__main__":
    main()
