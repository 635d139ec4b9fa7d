"""How well a network predicts text, token by token."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import nn

from ..datasets import Split, Task, Translation
from ..errors import UsageError
from ..quality import PERPLEXITY
from .metric import LEARNED, Measurements, Metric, Subject, register
from .modes import inference


@register
@dataclass(frozen=True)
class Perplexity(Metric):
    """Perplexity of the translations of a split, each token predicted from those before it.

    The end of a sentence is a token like any other, what fills a batch up is none, and labels are
    not smoothed.

    Args:
        batch_size: sentences in a forward pass, on average; it changes no result but by rounding.
    """

    batch_size: Annotated[int, Field(ge=1)] = 100

    definitions = {
        "perplexity": "exp(cross-entropy in nats per subword of the target, ends included)",
        "perplexity_per_word": "exp(cross-entropy per word of the target by white space, ends "
        "included), which does not depend on the vocabulary",
        "loss": "mean cross-entropy in nats per subword",
    }
    quality = PERPLEXITY

    def check(self, task: Task, model: nn.Module) -> None:
        """The task must be to translate."""
        if not isinstance(task, Translation):
            raise UsageError(
                "metric Perplexity is not possible here: it needs a data set of translations"
            )

    def least(self, task: Task, split: Split) -> float | None:
        """Perplexity: exp(0.95 H), with H the entropy of the split's tokens in nats."""
        if not isinstance(task, Translation):
            return None
        counts = torch.zeros(task.classes, dtype=torch.int64)
        for _, labels in task.batches(split, self.batch_size):
            counts += labels.flatten().bincount(minlength=task.classes).cpu()
        tokens = counts[1:]  # what fills a batch up is none
        shares = tokens[tokens > 0] / tokens.sum()
        return exp(float((1 - LEARNED) * -(shares * shares.log()).sum()))

    def measure(self, subject: Subject) -> Measurements:
        """Sums over batches divided by all tokens, so that batch sizes do not weigh."""
        self.check(subject.task, subject.model)
        task = cast(Translation, subject.task)
        total, tokens = 0.0, 0
        with inference(subject.model):
            for batch in task.batches(subject.split, self.batch_size):
                count = task.examples(batch)
                total += float(task.loss(subject.model, batch)) * count
                tokens += count
        return {
            "perplexity": _exp(total / tokens),
            "perplexity_per_word": _exp(total / task.words(subject.split)),
            "loss": total / tokens,
        }


def _exp(value: float) -> float:
    """exp(value), infinite where no floating-point number is that large."""
    return exp(value) if value < 700 else inf
