"""The networks and the task on which the conformance kit tries strategies: small and seeded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...datasets import Batch, Split, Task, sampled_labels
from ...errors import UsageError
from ...models import MODELS
from ...seeding import generator, seeded

_INPUTS, HIDDEN, _CLASSES = 36, 32, 4


@dataclass(frozen=True)
class Network:
    """A kind of network on which strategies are tried.

    Attributes:
        title: what it is called in sentences.
        make: builds it; its weights are drawn from torch's global generator, if at all.
    """

    title: str
    make: Callable[[], nn.Module]

    def fresh(self) -> nn.Module:
        """A new network, the same one at each call."""
        with seeded(0, "conformance", self.title):
            return self.make()


class Perceptron(nn.Module):
    """One hidden layer of tanh units: negating all weights and hidden biases changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(_INPUTS, HIDDEN)
        self.last = nn.Linear(HIDDEN, _CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of a batch of inputs."""
        return self.last(torch.tanh(self.first(inputs)))


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3)
        self.normalisation = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.shortcut = nn.Conv2d(6, 8, 1)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(32, _CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.relu(self.normalisation(self.first(inputs.view(-1, 1, 6, 6))))
        x = F.max_pool2d(F.relu(self.second(x) + self.shortcut(x)), 2)
        return self.last(self.dropout(x.flatten(1)))


class _OnImages(nn.Module):
    """A model of images whose size is its own, on the kit's task: images of 6×6, scaled up."""

    def __init__(self, model: nn.Module, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self._channels, *self._size = input_shape

    def forward(self, inputs: Tensor) -> Tensor:
        images = F.interpolate(inputs.view(-1, 1, 6, 6), tuple(self._size))
        logits: Tensor = self.model(images.expand(-1, self._channels, -1, -1))
        return logits


def _on_tokens(model: nn.Module) -> nn.Module:
    """A model of tokens, itself, on the kit's task: the class is what follows the last token.

    Hooks leave it what it says of its channels.
    """
    model.register_forward_pre_hook(lambda _, inputs: (inputs[0].sigmoid() * _CLASSES).long())
    model.register_forward_hook(lambda _, __, logits: logits[:, -1])
    return model


def registered_network(model: str, input_shape: tuple[int, ...] | None = None) -> Network:
    """The registered model of that name as a network on which strategies are tried.

    Args:
        model: as in an experiment.
        input_shape: of one image; by default that of the model's constructor. One number means a
            sequence of tokens, of the kit's length.

    Raises:
        UsageError: there is no such model, or it says no shape and none is given.
    """
    component = MODELS.component(model)
    default = inspect.signature(component.factory).parameters.get("input_shape")
    if input_shape is None and (default is None or default.default is inspect.Parameter.empty):
        raise UsageError(f"model {model} has no input_shape by default, which a check needs")
    shape: tuple[int, ...] = input_shape or default.default  # type: ignore[union-attr]

    def make() -> nn.Module:
        if len(shape) == 1:
            return _on_tokens(component.create(input_shape=(_INPUTS,), classes=_CLASSES))
        return _OnImages(component.create(input_shape=shape, classes=_CLASSES), shape)

    return Network(model, make)


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(_INPUTS, _INPUTS)
        self.again = nn.Linear(_INPUTS, _INPUTS)
        self.again.weight = self.first.weight
        self.last = nn.Linear(_INPUTS, _CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.tanh(self.again(torch.tanh(self.first(inputs)))))


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.last = nn.Linear(8, _CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs, _ = self.lstm(inputs.view(-1, 6, 6))
        return self.last(outputs[:, -1])


def _with_a_zero_layer() -> nn.Module:
    model = Perceptron()
    nn.init.zeros_(model.first.weight)
    return model


def _with_equal_weights(value: float) -> nn.Module:
    model = Perceptron()
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


PERCEPTRON = Network("perceptron", Perceptron)
ORDINARY = (
    PERCEPTRON,
    Network("convolutional network", _Residual),
    Network("network with tied weights", _Tied),
    Network("LSTM", _Recurrent),
)
DEGENERATE = (
    Network("perceptron with an all-zero layer", _with_a_zero_layer),
    Network("perceptron of equal weights", lambda: _with_equal_weights(0.1)),
    Network("perceptron of zero weights", lambda: _with_equal_weights(0.0)),
)


class Synthetic(Task):
    """Random inputs whose class a random linear map decides; it notes which splits are read."""

    input_shape = (_INPUTS,)
    classes = _CLASSES
    quality = "Accuracy"

    def __init__(self, examples: int = 256) -> None:
        rng = generator(0, "conformance", "task")
        self._inputs = torch.randn(examples, _INPUTS, generator=rng)
        self._labels = (self._inputs @ torch.randn(_INPUTS, _CLASSES, generator=rng)).argmax(1)
        self.read: set[Split] = set()

    def size(self, split: Split) -> int:
        """Number of examples, the same ones in every split."""
        return len(self._labels)

    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """One pass; see :meth:`Task.batches`."""
        self.read.add(split)
        order = torch.arange(len(self._labels))
        if generator is not None:
            order = torch.randperm(len(order), generator=generator)
        for index in order.split(batch_size):
            yield self._inputs[index], self._labels[index]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of the logits."""
        inputs, labels = batch
        return F.cross_entropy(model(inputs), labels)

    def sampled_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of labels drawn from the model; see :meth:`Task.sampled_loss`."""
        logits = model(batch[0])
        return F.cross_entropy(logits, sampled_labels(logits, generator))

    def inputs(self, batch_size: int) -> Tensor:
        """The first inputs, from the start again if there are fewer."""
        return self._inputs[torch.arange(batch_size) % len(self._inputs)]
