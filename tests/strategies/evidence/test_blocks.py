"""Going through the blocks of a transformer one at a time, beside sending all through all of it."""

import copy

import pytest
import torch
from contexts import context_of
from torch import nn

from prunebench.benchmark.conformance.networks import Synthetic
from prunebench.datasets import LanguageModelling
from prunebench.datasets.language import Stream
from prunebench.models import GPT, MODELS
from prunebench.strategies import NM, RIA, PerOutput, SparseGPT, Wanda, kept
from prunebench.strategies.evidence import sequence
from prunebench.strategies.evidence.blocks import find_blocks

WIDTH = 8


@pytest.fixture(scope="module")
def text():
    tokens = torch.randint(11, (600,), generator=torch.Generator().manual_seed(0))
    stream = Stream(tokens, words=1, bytes=len(tokens))
    splits = dict.fromkeys(("train", "validation", "test"), stream)
    return LanguageModelling(splits, 11, 12, 12, "bytes")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden):
        return hidden + self.linear(hidden).relu()


class Blocks(nn.Module):
    """Layers before and after three blocks; the others here differ in what these are given."""

    def __init__(self, kind=Block):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(*Synthetic.input_shape, WIDTH)
        self.blocks = nn.ModuleList(kind() for _ in range(3))
        self.last = nn.Linear(WIDTH, Synthetic.classes)

    def forward(self, inputs):
        hidden = self.first(inputs)
        for block in self.blocks:
            hidden = block(hidden)
        return self.last(hidden)


class Twice(Blocks):
    def forward(self, inputs):
        hidden = self.first(inputs)
        for block in (*self.blocks, *self.blocks):
            hidden = block(hidden)
        return self.last(hidden)


class Backwards(Blocks):
    def forward(self, inputs):
        hidden = self.first(inputs)
        for block in reversed(self.blocks):
            hidden = block(hidden)
        return self.last(hidden)


class NormedBetween(Blocks):
    def forward(self, inputs):
        hidden = self.first(inputs)
        for block in self.blocks:
            hidden = block(hidden).tanh()
        return self.last(hidden)


class Skipping(Blocks):
    """The third block is given what the first gave out, too."""

    class Kind(Block):
        def forward(self, hidden, *, skip=None):
            hidden = super().forward(hidden)
            return hidden if skip is None else hidden + skip

    def __init__(self):
        super().__init__(self.Kind)

    def forward(self, inputs):
        one = self.blocks[0](self.first(inputs))
        return self.last(self.blocks[2](self.blocks[1](one), skip=one))


class Counting(Blocks):
    """A block goes on from how often it was used."""

    class Kind(Block):
        calls = 0

        def forward(self, hidden):
            self.calls += 1
            return super().forward(hidden) * self.calls

    def __init__(self):
        super().__init__(self.Kind)


class InPlace(Blocks):
    class Kind(Block):
        def forward(self, hidden):
            return hidden.add_(self.linear(hidden).relu())

    def __init__(self):
        super().__init__(self.Kind)

    def forward(self, inputs):
        with torch.no_grad():
            return super().forward(inputs)


class Tuples(Blocks):
    """Blocks that give more than one tensor, and are given a mask, as older libraries have them."""

    class Kind(Block):
        def forward(self, hidden, mask, *, scale):
            return super().forward(hidden) * mask * scale, mask

    def __init__(self):
        super().__init__(self.Kind)

    def forward(self, inputs):
        hidden, mask = self.first(inputs), torch.ones(len(inputs), 1)
        for block in self.blocks:
            (hidden, _) = block(hidden, mask, scale=0.5)
        return self.last(hidden)


class Named(Blocks):
    """Blocks that hand on a dictionary."""

    class Kind(Block):
        def forward(self, state):
            return {"hidden": super().forward(state["hidden"])}

    def __init__(self):
        super().__init__(self.Kind)

    def forward(self, inputs):
        state = {"hidden": self.first(inputs)}
        for block in self.blocks:
            state = block(state)
        return self.last(state["hidden"])


class Shared(Blocks):
    """The layer of the first block is in the last one, too."""

    def __init__(self):
        super().__init__()
        self.blocks[2].linear = self.blocks[0].linear


def encoder():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 12, batch_first=True)
    first = nn.Sequential(nn.Linear(*Synthetic.input_shape, 3 * WIDTH), nn.Unflatten(1, (3, WIDTH)))
    blocks = nn.TransformerEncoder(layer, 3)
    return nn.Sequential(first, blocks, nn.Flatten(), nn.Linear(3 * WIDTH, Synthetic.classes))


NETWORKS = [Blocks, Tuples, Shared, encoder]
OTHERS = [Twice, Backwards, NormedBetween, Skipping, Counting, InPlace, Named]
METHODS = [
    Wanda(batches=3, batch_size=16, sequential=True, allocation=PerOutput()),
    RIA(batches=3, batch_size=16, sequential=True, structure=NM()),
    SparseGPT(batches=3, batch_size=16),
]


def pruned(model, task, strategy):
    """Half of what the strategy removes is gone; the masks, the weights, and the passes noted."""
    model = copy.deepcopy(model)
    context = context_of(model, task, strategy=strategy)
    masks = strategy.prune(context, kept(context.masks) // 2).masks
    return dict(masks), model.state_dict(), context.passes


def both(monkeypatch, model, task, strategy):
    """The same through its blocks and, all of it each time, through the network."""
    by_blocks = pruned(model, task, strategy)
    monkeypatch.setattr(sequence, "find_blocks", lambda *_: [])
    return by_blocks, pruned(model, task, strategy)


def assert_same(one, other):
    for mine, its in zip(one[:2], other[:2], strict=True):
        assert mine.keys() == its.keys()
        assert all(torch.equal(mine[name], its[name]) for name in mine)
    assert one[2] == other[2]


@pytest.mark.parametrize("strategy", METHODS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda each: each.__name__)
def test_through_blocks_all_is_the_same_to_the_bit(monkeypatch, network, strategy):
    model = network()
    assert len(find_blocks(model, Synthetic())) == 3
    assert_same(*both(monkeypatch, model, Synthetic(), strategy))


@pytest.mark.parametrize("strategy", METHODS, ids=lambda each: type(each).__name__)
def test_so_it_is_for_a_gpt(monkeypatch, text, strategy):
    torch.manual_seed(0)
    model = GPT(input_shape=(12,), classes=11, width=16, depth=3, hidden=24)
    assert find_blocks(model, text) == list(model.blocks)
    assert_same(*both(monkeypatch, model, text, strategy))


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [
        "gpt2(config={'n_layer': 3, 'n_embd': 16, 'n_head': 4, 'n_inner': 24})",
        "llama(config={'num_hidden_layers': 3, 'hidden_size': 16, 'num_attention_heads': 4, "
        "'num_key_value_heads': 2, 'intermediate_size': 24})",
        "opt(config={'num_hidden_layers': 3, 'hidden_size': 16, 'num_attention_heads': 4, "
        "'word_embed_proj_dim': 16, 'ffn_dim': 24})",
        "bloom(config={'n_layer': 3, 'hidden_size': 16, 'n_head': 4})",
    ],
    ids=lambda each: each.partition("(")[0],
)
def test_so_it_is_for_the_families_of_a_library(monkeypatch, text, family):
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = MODELS.component(f"transformers/{family}").create(input_shape=(12,), classes=11)
    assert len(find_blocks(model, text)) == 3
    assert_same(*both(monkeypatch, model, text, METHODS[2]))


@pytest.mark.parametrize("network", OTHERS, ids=lambda each: each.__name__)
def test_what_does_not_go_on_by_its_input_alone_is_no_block(network):
    assert find_blocks(network(), Synthetic()) == []


def test_a_block_is_passed_once_for_each_of_its_layers_and_once_to_the_next():
    model = Blocks()
    calls = [0, 0, 0, 0]

    def count(place):
        def hook(*_):
            calls[place] += 1

        return hook

    for place, module in enumerate((model.first, *model.blocks)):
        module.register_forward_hook(count(place))
    strategy = SparseGPT(batches=5, batch_size=16)
    context = context_of(model, Synthetic(), strategy=strategy)
    strategy.prune(context, kept(context.masks) // 2)
    looked_at, in_all, each = 2, 1 + 2, 5  # once for the order; for the blocks once, and once more
    # All go through all for the first layer and the last; to come to the blocks, the first alone.
    outside = 2 * each
    assert calls == [
        looked_at + outside + each,
        in_all + outside + each + each,
        in_all + outside + each + each,
        in_all + outside + each,
    ]
