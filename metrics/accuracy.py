"""How well a classifier classifies."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..datasets import Split, Task
from ..errors import UsageError
from ..quality import ACCURACY
from .metric import LEARNED, Measurements, Metric, Subject, register
from .modes import inference


@register
@dataclass(frozen=True)
class Accuracy(Metric):
    """Top-1 and top-5 accuracy and cross-entropy, each the mean over all examples of a split.

    Args:
        batch_size: examples in a forward pass; it changes no result but by rounding.
    """

    batch_size: Annotated[int, Field(ge=1)] = 500

    definitions = {
        "top1": "fraction of examples whose highest logit is that of their class",
        "top5": "fraction of examples whose class is among the five highest logits "
        "(only where there are more than 10 classes)",
        "loss": "mean cross-entropy in nats",
    }
    quality = ACCURACY

    def measure(self, subject: Subject) -> Measurements:
        """Sums over batches divided by the number of examples, so that batch sizes do not weigh."""
        return self.in_detail(subject)[0]

    def check(self, task: Task, model: nn.Module) -> None:
        """The network gives a number for each class; see :meth:`.Metric.check`."""
        with inference(model):
            logits = model(task.inputs(1))
        if not isinstance(logits, Tensor):
            given = f"a {type(logits).__name__}"
        elif logits.ndim == 2 and logits.shape[1] >= task.classes:
            return
        else:
            given = f"{'×'.join(map(str, logits.shape))} numbers"
        raise UsageError(
            f"Accuracy cannot score {type(model).__name__} on {type(task).__name__}: for one "
            f"example it gives {given}, and not 1×{task.classes} logits; have the network give "
            "these, or the task name another metric as its quality"
        )

    def by_class(self, subject: Subject) -> Measurements:
        """Of the examples of each class the fraction whose highest logit is that of the class."""
        return self.in_detail(subject)[1]

    def in_detail(self, subject: Subject) -> tuple[Measurements, Measurements]:
        """Both in one pass."""
        task = subject.task
        top = 5 if task.classes > 10 else 1
        hits = torch.zeros(top, dtype=torch.int64)
        right, counts = torch.zeros(2, task.classes, dtype=torch.int64)
        loss = 0.0
        with inference(subject.model):
            for inputs, labels in task.batches(subject.split, self.batch_size):
                logits = subject.model(inputs)
                loss += F.cross_entropy(logits, labels, reduction="sum").item()
                # Of a network that gives no numbers the "highest" logits are right by accident.
                are_numbers = ~logits.isnan().any(1, keepdim=True)
                hit = (logits.topk(top).indices == labels.unsqueeze(1)) & are_numbers
                hits += hit.sum(0).cpu()
                counts += labels.bincount(minlength=task.classes).cpu()
                right += labels[hit[:, 0]].bincount(minlength=task.classes).cpu()
        examples = task.size(subject.split)
        if (seen := int(counts.sum())) != examples:
            raise UsageError(
                f"the task {type(task).__name__} gives {seen:,} examples of the {subject.split} "
                f"split, and its size() says {examples:,}"
            )
        measured = {"top1": hits[0].item() / examples, "loss": loss / examples}
        if top == 5:
            measured["top5"] = hits.sum().item() / examples
        names = task.class_names or tuple(map(str, range(task.classes)))
        shares = zip(names, right.tolist(), counts.tolist(), strict=True)
        return measured, {name: hit / count if count else nan for name, hit, count in shares}

    def least(self, task: Task, split: Split) -> float:
        """Accuracy: of always the most frequent class of the split p, and p + 0.05 (1 − p)."""
        # Remembered with the task, which need not be hashable: images may have to be decoded.
        shares: dict[Split, float] = vars(task).setdefault("_largest_shares", {})
        if split not in shares:
            shares[split] = _largest_share(task, split, self.batch_size)
        return shares[split] + LEARNED * (1 - shares[split])


def _largest_share(task: Task, split: Split, batch_size: int) -> float:
    """The share of the most frequent class."""
    counts = torch.zeros(task.classes, dtype=torch.int64)
    for _, labels in task.batches(split, batch_size):
        counts += labels.bincount(minlength=task.classes).cpu()
    return counts.max().item() / max(int(counts.sum()), 1)
