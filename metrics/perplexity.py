"""How well a network predicts text, token by token, or classes."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..datasets import Split, Task
from ..errors import UsageError
from ..quality import PERPLEXITY
from .metric import LEARNED, Measurements, Metric, Subject, register
from .modes import inference


@register
@dataclass(frozen=True)
class Perplexity(Metric):
    """Perplexity of a split: exp of the mean cross-entropy of its tokens, or other examples.

    The task says what its examples are: of a translation or a text each token, predicted from
    those before it. The end of a sentence is a token like any other, what fills a batch up is none,
    and labels are not smoothed.

    Args:
        batch_size: sentences (on average) or blocks in a forward pass; it changes no result but by
            rounding.
    """

    batch_size: Annotated[int, Field(ge=1)] = 100

    definitions = {
        "perplexity": "exp(cross-entropy in nats per example of the task: per subword of a "
        "translation, ends included; per token of a text)",
        "perplexity_per_word": "exp(cross-entropy per word of the text by white space, ends "
        "included), which does not depend on the vocabulary (only where the task counts words)",
        "perplexity_per_byte": "exp(cross-entropy per byte of the text in UTF-8), which does not "
        "depend on the vocabulary either (only where the task counts bytes)",
        "loss": "mean cross-entropy in nats per example of the task",
    }
    quality = PERPLEXITY

    def check(self, task: Task, model: nn.Module) -> None:
        """The task's loss must be the mean cross-entropy of the network's logits."""
        batch = next(iter(task.batches("test", 2)))
        with inference(model):
            loss, logits = task.loss(model, batch), model(batch[0])
        if not _is_cross_entropy(loss, logits, batch[1], task.padding):
            raise UsageError(
                f"metric Perplexity is not possible here: the loss of the task "
                f"{type(task).__name__} is not the mean cross-entropy of the network's logits "
                f"over all labels but {task.padding} (its padding)"
            )

    def least(self, task: Task, split: Split) -> float:
        """Perplexity: exp(0.95 H), with H the entropy of the split's labels in nats."""
        counts = torch.zeros(task.classes, dtype=torch.int64)
        for _, labels in task.batches(split, self.batch_size):
            counted = labels[labels != task.padding]
            counts += counted.bincount(minlength=task.classes).cpu()
        shares = counts[counts > 0] / counts.sum()
        return exp(float((1 - LEARNED) * -(shares * shares.log()).sum()))

    def measure(self, subject: Subject) -> Measurements:
        """Sums over batches divided by all examples, so that batch sizes do not weigh."""
        task = subject.task
        total, examples = 0.0, 0
        with inference(subject.model):
            for batch in task.batches(subject.split, self.batch_size):
                count = task.examples(batch)
                total += float(task.loss(subject.model, batch)) * count
                examples += count
        counts = {"word": task.words(subject.split), "byte": task.bytes(subject.split)}
        return {
            "perplexity": _exp(total / examples),
            **{f"perplexity_per_{each}": _exp(total / n) for each, n in counts.items() if n},
            "loss": total / examples,
        }


def _is_cross_entropy(loss: Tensor, logits: object, labels: Tensor, padding: int) -> bool:
    """Whether a loss is what torch computes of logits, whose classes come last or second."""
    if not isinstance(logits, Tensor) or logits.ndim < 2 or labels.is_floating_point():
        return False
    known = (
        F.cross_entropy(each.flatten(0, -2), labels.flatten().long(), ignore_index=padding)
        for each in (logits, logits.movedim(1, -1))
        if each.shape[:-1] == labels.shape
    )
    return any(torch.allclose(loss, each, rtol=1e-4, equal_nan=True) for each in known)


def _exp(value: float) -> float:
    """exp(value), infinite where no floating-point number is that large."""
    return exp(value) if value < 700 else inf
