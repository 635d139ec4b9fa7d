"""What tasks have in common that learn to predict token after token."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .classification import sampled_labels
from .task import Batch, Task


class NextToken(Task):
    """Cross-entropy over tokens, each of which is an example, scored by perplexity.

    A model gives logits (batch × steps × classes), and labels are batch × steps; those that are
    :attr:`Task.padding` count nowhere.
    """

    quality = "Perplexity"

    def examples(self, batch: Batch) -> int:
        """Number of tokens to be predicted, each of which is an example."""
        return int((batch[1] != self.padding).sum())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of the tokens to be predicted."""
        return self.smoothed_loss(model, batch, 0.0)

    def smoothed_loss(self, model: nn.Module, batch: Batch, label_smoothing: float) -> Tensor:
        """The same with smoothed labels; see :meth:`Task.smoothed_loss`."""
        logits, labels = self._foretold(model, batch)
        return F.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            ignore_index=self.padding,
            label_smoothing=label_smoothing,
        )

    def sampled_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of tokens drawn from the model; see :meth:`Task.sampled_loss`."""
        logits, labels = self._foretold(model, batch)
        foretold = logits[labels != self.padding]
        return F.cross_entropy(foretold, sampled_labels(foretold, generator))

    def _foretold(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and labels; of a part of a batch a model may leave out steps that are padding."""
        logits = model(batch[0])
        return logits, batch[1][:, : logits.shape[1]]
