"""What n-grams reach on a text: the perplexity that a language model has to be better than.

    python performance/ngram_perplexity.py --dataset 'Multi30kText(vocabulary=2000)' --orders 1 2 3

They are interpolated as Witten & Bell (1991) do, learned from the training split and measured on
the test split. Nothing is tuned.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import exp, log

from tabulate import tabulate

from prunebench.benchmark.cell.loop import load_task
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.datasets import DATASETS, Split, Task


class WittenBell:
    """Probabilities of tokens after those before them.

    A history of which T different tokens have been seen to follow gives T of its c + T parts to
    what the history without its first token says, and the shortest to all tokens alike.

    Args:
        stream: the tokens to learn from.
        order: one more than the tokens of the longest history.
        classes: how many different tokens there are.
    """

    def __init__(self, stream: Sequence[int], order: int, classes: int) -> None:
        self.order, self._classes = order, classes
        self._after: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for length in range(order):
            for place in range(length, len(stream)):
                self._after[tuple(stream[place - length : place])][stream[place]] += 1
        self._totals = {history: counts.total() for history, counts in self._after.items()}

    def probability(self, history: Sequence[int], token: int) -> float:
        """That ``token`` follows ``history``, of which the last tokens count."""
        found = 1 / self._classes
        for length in range(min(self.order, len(history) + 1)):
            shorter = tuple(history[len(history) - length :])
            total = self._totals.get(shorter)
            if total is None:
                break
            counts = self._after[shorter]
            found = (counts[token] + len(counts) * found) / (total + len(counts))
        return found

    def nats(self, stream: Sequence[int]) -> float:
        """The cross-entropy of all tokens of a stream but the first, summed."""
        return -sum(
            log(self.probability(stream[max(0, place + 1 - self.order) : place], stream[place]))
            for place in range(1, len(stream))
        )


def stream_of(task: Task, split: Split) -> list[int]:
    """The tokens of a split, from the one that stands before the text on."""
    batches = list(task.batches(split, 64))
    labels = [labels[labels != task.padding] for _, labels in batches]
    return [int(batches[0][0][0, 0]), *(token for each in labels for token in each.tolist())]


def main() -> None:
    """Print a row for each order."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="Multi30kText(vocabulary=2000)")
    parser.add_argument("--orders", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--data")
    arguments = parser.parse_args()
    task = load_task(DATASETS.component(arguments.dataset), data_folder(arguments.data))
    train, test = stream_of(task, "train"), stream_of(task, "test")
    rows = []
    for order in arguments.orders:
        nats = WittenBell(train, order, task.classes).nats(test)
        counts = (len(test) - 1, task.words("test"), task.bytes("test"))
        rows.append((order, *(exp(nats / count) if count else None for count in counts)))
    print(
        tabulate(rows, ("order", "per token", "per word", "per byte"), floatfmt=("", *[".4g"] * 3))
    )


if __name__ == "__main__":
    main()
