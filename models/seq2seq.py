"""LSTM encoder–decoders with attention, for translation."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..errors import UsageError
from ..protocols import ChannelGroup
from .architecture import register
from .attention import GeneralAttention
from .decoding import State, beam_search, greedy

PADDING = 0
"""The token that fills sequences up to the length of the longest of a batch."""

Tied = Literal["none", "target", "all"]

_LONGEST = 10


@register
class Seq2SeqLSTM(nn.Module):
    """A bidirectional LSTM that reads, an LSTM with Luong's attention that writes.

    Each layer of the decoder begins with the last states of the same layer of the encoder. An
    input is a pair of sequences of tokens (2 × steps): the source, and the target as far as it is
    known, beginning with a token that says so; both are filled up with zeros. With 4,000 tokens and
    the defaults there are 4,194,208 parameters.

    Source: Luong, Pham, Manning: Effective Approaches to Attention-based Neural Machine
        Translation, EMNLP 2015. What See, Luong, Manning pruned (CoNLL 2016) had 4 layers of 1,000
        units, and read in one direction only.

    Args:
        embedding: features of a token.
        hidden: units of each layer; half of the encoder's read forwards, half backwards.
        layers: of the encoder, and of the decoder.
        dropout: on embeddings, between layers and on what the output layer sees.
        input_feeding: whether a step sees the attentional vector of the step before.
        tied: ``target`` shares one matrix between the target's embedding and the output layer,
            ``all`` between these and the source's embedding, where the vocabulary is shared too.
    """

    output_layer = "softmax"

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...] = (2, 1),
        classes: int = 4_000,
        embedding: Annotated[int, Field(ge=1)] = 256,
        hidden: Annotated[int, Field(ge=2, multiple_of=2)] = 256,
        layers: Annotated[int, Field(ge=1, le=4)] = 1,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3,
        input_feeding: bool = False,
        tied: Tied = "none",
    ) -> None:
        super().__init__()
        if len(input_shape) != 2 or input_shape[0] != 2:
            shape = "×".join(map(str, input_shape))
            raise UsageError(
                "model Seq2SeqLSTM needs pairs of sequences of tokens, as Multi30k has, and the "
                f"examples of this data set are {shape}"
            )
        self.input_feeding = input_feeding
        self.source_embedding = nn.Embedding(classes, embedding)
        self.target_embedding = nn.Embedding(classes, embedding)
        widths = [embedding] + [hidden] * (layers - 1)
        self.encoder = nn.ModuleList(
            nn.LSTM(width, hidden // 2, batch_first=True, bidirectional=True) for width in widths
        )
        # The output layer's features are the embedding's where both share a matrix.
        features = hidden if tied == "none" else embedding
        widths[0] += features if input_feeding else 0
        self.decoder = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for width in widths)
        self.attention = GeneralAttention(hidden, hidden, features)
        self.softmax = nn.Linear(features, classes)
        self.dropout = nn.Dropout(dropout)
        for vectors in (self.source_embedding, self.target_embedding):
            nn.init.normal_(vectors.weight, std=embedding**-0.5)
        if tied != "none":
            self.softmax.weight = self.target_embedding.weight
        if tied == "all":
            self.source_embedding.weight = self.target_embedding.weight

    @property
    def weight_classes(self) -> dict[str, str]:
        """The classes of weights of See et al. 2016, a layer's two kinds of weights told apart.

        Weights that are tied have one name and are in one class.
        """
        classes = {
            "source_embedding.weight": "source embedding",
            "target_embedding.weight": "target embedding",
            "attention.score.weight": "attention",
            "attention.combine.weight": "attention",
            "softmax.weight": "softmax",
        }
        kinds = {"weight_ih": "input-to-hidden", "weight_hh": "hidden-to-hidden"}
        for part in ("encoder", "decoder"):
            for name, _ in self.get_submodule(part).named_parameters():
                layer, _, kind = name.partition(".")
                if kind[:9] in kinds:
                    classes[f"{part}.{name}"] = f"{part} {int(layer) + 1} {kinds[kind[:9]]}"
        if self.softmax.weight is self.target_embedding.weight:
            shared = next(
                name for name, weight in self.named_parameters() if weight is self.softmax.weight
            )
            classes[shared] = "embeddings and softmax"
        return classes

    def channel_groups(self) -> list[ChannelGroup]:
        """What can be removed: features of embeddings and of the attentional vector, hidden units.

        A unit of the decoder begins with the state of one of the encoder's, and a layer's two
        directions are of one size, so that four units go together: one of each direction, and the
        two of the decoder's same layer that begin with their states. Features of tied embeddings go
        together with the output layer's.
        """
        read, written = (
            torch.arange(vectors.embedding_dim)
            for vectors in (self.source_embedding, self.target_embedding)
        )
        features = torch.arange(self.softmax.in_features)
        first, after = self._layer("decoder", 0).input_size, len(written)
        source = ChannelGroup(
            ("source_embedding.weight",),
            {
                "source_embedding.weight": {1: read},
                "encoder.0.weight_ih_l0": {1: read},
                "encoder.0.weight_ih_l0_reverse": {1: read},
            },
        )
        target = ChannelGroup(
            ("target_embedding.weight",),
            {
                "target_embedding.weight": {1: written},
                "decoder.0.weight_ih_l0": {1: _placed(written, 0, first)},
            },
        )
        vector = ChannelGroup(
            ("attention.combine.weight",),
            {"attention.combine.weight": {0: features}, "softmax.weight": {1: features}}
            | ({"decoder.0.weight_ih_l0": {1: _placed(features, after, first)}}
               if self.input_feeding else {}),
        )  # fmt: skip
        if self.softmax.weight is not self.target_embedding.weight:
            groups = [source, target, vector]
        elif self.softmax.weight is not self.source_embedding.weight:
            groups = [source, _together(target, vector)]
        else:
            groups = [_together(source, target, vector)]
        return groups + [self._units(number) for number in range(len(self.encoder))]

    def _units(self, number: int) -> ChannelGroup:
        """The hidden units of a layer of the encoder and of the decoder."""
        forwards = torch.arange(self._layer("encoder", number).hidden_size)
        both = forwards.repeat(2)
        positions: dict[str, dict[int, Tensor]] = {}
        for part, units in (("encoder", forwards), ("decoder", both)):
            for name, _ in self._layer(part, number).named_parameters():
                positions[f"{part}.{number}.{name}"] = {0: units.repeat(4)}  # one for each gate
                if name.startswith("weight_hh"):
                    positions[f"{part}.{number}.{name}"][1] = units
            if number + 1 < len(self.encoder):
                for name, _ in self._layer(part, number + 1).named_parameters():
                    if name.startswith("weight_ih"):
                        positions[f"{part}.{number + 1}.{name}"] = {1: both}
        makers = tuple(name for name, dims in positions.items() if 0 in dims and ".weight" in name)
        if number + 1 == len(self.encoder):
            positions["attention.score.weight"] = {0: both, 1: both}
            positions["attention.combine.weight"] = {1: both.repeat(2)}
        return ChannelGroup(makers, positions)

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits (batch × steps of the longest target × tokens) of pairs (batch × 2 × steps)."""
        source, target = pairs.unbind(1)
        outputs, _ = self._decode(_trimmed(target), self.start(source))
        logits: Tensor = self.softmax(self.dropout(outputs))
        return logits

    @torch.inference_mode()
    def translate(
        self,
        sources: Tensor,
        begin: int,
        end: int,
        beam: int = 5,
        length_normalisation: float = 1.0,
    ) -> list[list[int]]:
        """Translate sources (batch × steps) as tokens, each without ``begin`` and ``end``.

        Args:
            sources: tokens, filled up with zeros.
            begin: the token before the first.
            end: the token after the last.
            beam: the width of the search; 1 takes the most probable token at every step.
            length_normalisation: see :func:`.decoding.beam_search`.
        """
        was_training = self.training
        self.eval()
        try:
            state = self.start(sources)
            limits = 2 * (sources != PADDING).sum(1) + _LONGEST
            if beam == 1:
                return greedy(self.step, state, limits, begin, end)
            found = beam_search(self.step, state, limits, begin, end, beam, length_normalisation)
            return [hypothesis.tokens for hypothesis in found]
        finally:
            self.train(was_training)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (batch × tokens) of what follows ``tokens`` (batch), and the state after them.

        Padding follows nothing.
        """
        outputs, state = self._decode(tokens.unsqueeze(1), state)
        logits: Tensor = self.softmax(self.dropout(outputs)).squeeze(1)
        logits[:, PADDING] = -torch.inf
        return logits, state

    def _layer(self, part: str, number: int) -> nn.LSTM:
        layer = self.get_submodule(f"{part}.{number}")
        assert isinstance(layer, nn.LSTM)
        return layer

    def start(self, source: Tensor) -> State:
        """The decoder's state before the first token: what :meth:`step` begins with.

        It is memory, keys, padding, what is fed, and (h, c) of each layer, the batch always first.
        Sequences are packed, so that a sentence's states do not depend on the length of others.
        """
        source = _trimmed(source)
        padding = source == PADDING
        lengths = (~padding).sum(1)
        memory = self.dropout(self.source_embedding(source))
        states = []
        for number, layer in enumerate(self.encoder):
            packed = pack_padded_sequence(
                memory if number == 0 else self.dropout(memory),
                lengths.cpu(),
                batch_first=True,
                enforce_sorted=False,
            )
            outputs, last = layer(packed)
            memory, _ = pad_packed_sequence(outputs, batch_first=True)
            states += [state.transpose(0, 1).flatten(1) for state in last]
        fed = memory.new_zeros(len(memory), self.attention.combine.out_features)
        return memory, self.attention.keys(memory), padding, fed, *states

    def _decode(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Attentional vectors (batch × steps × features) of tokens, and the state after them."""
        memory, keys, padding, fed, *states = state
        inputs = self.dropout(self.target_embedding(tokens))
        if not self.input_feeding:
            hidden, states = self._recur(inputs, states)
            outputs = self.attention(hidden, keys, memory, padding)
        else:
            steps = []
            for each in inputs.unbind(1):
                both = torch.cat([each, fed], 1).unsqueeze(1)
                hidden, states = self._recur(both, states)
                steps.append(self.attention(hidden, keys, memory, padding))
                fed = self.dropout(steps[-1]).squeeze(1)
            outputs = torch.cat(steps, 1)
        return outputs, (memory, keys, padding, fed, *states)

    def _recur(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The decoder's layers, from and to their states, which are h and c of each in turn."""
        after: list[Tensor] = []
        for number, layer in enumerate(self.decoder):
            if number:
                x = self.dropout(x)
            h, c = (part.unsqueeze(0).contiguous() for part in states[2 * number : 2 * number + 2])
            x, (h, c) = layer(x, (h, c))
            after += [h.squeeze(0), c.squeeze(0)]
        return x, after


def _trimmed(tokens: Tensor) -> Tensor:
    """Sequences up to the end of the longest."""
    return tokens[:, : int((tokens != PADDING).sum(1).max())]


def _placed(numbers: Tensor, start: int, size: int) -> Tensor:
    """``numbers`` from ``start`` on among ``size`` positions that are otherwise −1."""
    places = torch.full((size,), -1)
    places[start : start + len(numbers)] = numbers
    return places


def _together(*groups: ChannelGroup) -> ChannelGroup:
    """Groups of equally many channels as one, since tied weights are a part of all of them."""
    positions: dict[str, dict[int, Tensor]] = {}
    for group in groups:
        for name, dims in group.positions.items():
            known = positions.setdefault(name, {})
            for dim, numbers in dims.items():
                known[dim] = torch.maximum(known.get(dim, numbers), numbers)
    return ChannelGroup(tuple(name for group in groups for name in group.made_by), positions)
