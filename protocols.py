"""What a network may say of itself, since nothing else would tell.

Any ``nn.Module`` can be pruned without saying anything. Where its structure does not show, it has
one of the attributes or methods below, and whoever needs to know asks :func:`declared`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor, nn

P = TypeVar("P")


class NamesOutputLayer(Protocol):
    """A network whose output layer (the classifier) does not show when it is run.

    Attributes:
        output_layer: the module's name.
    """

    output_layer: str


class NamesWeightClasses(Protocol):
    """A network whose weights belong to classes (See et al. 2016).

    Attributes:
        weight_classes: parameter name → class; a parameter that is not named is one by itself.
    """

    weight_classes: Mapping[str, str]


class ChannelGroup(NamedTuple):
    """Channels of one kind that a network says can be removed.

    Attributes:
        made_by: names of the weights that make the channels, by which they are scored.
        positions: name of a parameter → dimension → for each position along it the number of the
            channel in this group that it belongs to, −1 for none.
    """

    made_by: tuple[str, ...]
    positions: Mapping[str, Mapping[int, Tensor]]


class NamesChannels(Protocol):
    """A network whose channels tracing would not find, as a recurrent one."""

    def channel_groups(self) -> Iterable[ChannelGroup]:
        """All channels that can be removed."""


class Resizes(Protocol):
    """A network whose modules have sizes of their own written down, as the number of heads."""

    def resize(self) -> None:
        """Have them say what the parameters have, some channels of which were cut out."""


class MovesChannels(Protocol):
    """A module that moves channels about, such as a shortcut that pads with zeros.

    Attributes:
        channel_source: a buffer with the input channel that each output channel is, −1 for zeros.
    """

    channel_source: Tensor


class ClosesChannels(Protocol):
    """A module that computes only some of the channels of a convolution, others for each input.

    Attributes:
        closes_channels: True.
        convolution: the convolution.
    """

    closes_channels: bool
    convolution: nn.Module


class AddsToGradients(Protocol):
    """A module that adds the gradient of a penalty of its own in the backward pass.

    Attributes:
        loss_factor: by what the loss is multiplied before each backward pass, where a batch has
            several or float16 needs larger gradients; whoever trains the network sets it.
    """

    loss_factor: float


class LeavesFillingOut(Protocol):
    """A network of texts that looks only at tokens that are not the one which fills texts up.

    Attributes:
        filling: that token.
    """

    filling: int


class Generates(Protocol):
    """A language model that goes on with texts by itself."""

    def generate(self, tokens: Tensor, count: int) -> Tensor:
        """``count`` tokens after each of some texts (batch × steps), always the most probable.

        Returns:
            The new tokens (batch × count).
        """


class Translates(Protocol):
    """A network that translates by a search of its own, as BLEU needs."""

    def translate(
        self, sources: Tensor, begin: int, end: int, beam: int, length_normalisation: float
    ) -> list[list[int]]:
        """Translations of sources (batch × steps) as tokens, without ``begin`` and ``end``.

        Args:
            sources: tokens, filled up with zeros.
            begin: the token before the first.
            end: the token after the last.
            beam: the width of the search.
            length_normalisation: hypotheses compare by log-probability / length**this.
        """


class MadeFromFile(Protocol):
    """A component class whose instances depend on what is in a file, and not on its path."""

    @classmethod
    def identity_of(cls, arguments: Mapping[str, Any]) -> str:
        """What counts in the identity of an experiment, given the component's arguments."""


def declared(thing: object, protocol: type[P]) -> P | None:
    """A network, module or class, if it has all that a protocol of this module asks for."""
    asked = _asked(protocol)  # type: ignore[arg-type] # a class is hashable, of whatever protocol
    return cast("P", thing) if all(hasattr(thing, name) for name in asked) else None


@lru_cache
def _asked(protocol: type) -> frozenset[str]:
    public = (name for name in vars(protocol) if not name.startswith("_"))
    return frozenset([*public, *protocol.__annotations__])
