"""Wanda: the norm of what each weight is multiplied with, for every kind of layer."""

import pytest
import torch
from contexts import context_of, removable
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from prunebench.datasets import Task
from prunebench.strategies import NM, PerOutput, Wanda, kept
from prunebench.strategies.evidence.activations import input_norms


class Inputs(Task):
    """Some inputs, all in one batch; the loss only makes the model run."""

    classes, quality = 2, "Accuracy"

    def __init__(self, inputs):
        self.x = inputs

    def size(self, split):
        return len(self.x)

    def batches(self, split, batch_size, generator=None):
        yield self.x, torch.zeros(len(self.x))

    def loss(self, model, batch):
        outputs = model(batch[0])
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        outputs = outputs.data if hasattr(outputs, "batch_sizes") else outputs
        return outputs.sum()

    def inputs(self, batch_size):
        return self.x[:batch_size]


def norms(model, inputs):
    weights = {name: p for name, p in model.named_parameters() if p.ndim >= 2}
    found = input_norms(context_of(model, Inputs(inputs)), 1, 999)
    return {n: found[n].expand_as(weight) for n, weight in weights.items() if n in found}


def change_without(model, name, place, inputs):
    """By how much the output changes, as a norm over all examples, when one weight goes."""
    with torch.no_grad():
        before = model(inputs)
        weight = dict(model.named_parameters())[name]
        kept = weight[place].clone()
        weight[place] = 0
        change = (model(inputs) - before).norm()
        weight[place] = kept
    return change.item(), kept.abs().item()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(5, 3), (20, 5)),
        (nn.Linear(5, 3), (4, 7, 5)),  # sequences
        (nn.Conv1d(4, 6, 3, padding=1), (5, 4, 9)),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (5, 4, 9, 8)),
        (nn.Conv2d(4, 6, (3, 2), dilation=2, groups=2), (5, 4, 9, 8)),
        (nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="circular"), (5, 4, 6, 6)),
        (nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
    ],
    ids=str,
)
def test_the_score_is_the_change_of_the_output_when_the_weight_alone_goes(layer, shape):
    torch.manual_seed(0)
    layer, inputs = layer.double(), torch.randn(shape, dtype=torch.float64)
    found = norms(nn.Sequential(layer), inputs)["0.weight"]
    for flat in torch.randperm(layer.weight.numel())[:12].tolist():
        place = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), layer.weight.shape))
        change, weight = change_without(layer, "weight", place, inputs)
        assert weight * found[place].item() == pytest.approx(change, rel=1e-9)


def test_a_row_of_an_embedding_counts_by_how_often_it_is_looked_up():
    torch.manual_seed(0)
    layer, tokens = nn.Embedding(6, 3).double(), torch.tensor([[1, 1, 2], [4, 1, 2]])
    found = norms(nn.Sequential(layer), tokens)["0.weight"]
    assert found.square()[:, 0].tolist() == pytest.approx([0, 3, 2, 0, 1, 0])
    change, weight = change_without(layer, "weight", (1, 2), tokens)
    assert weight * found[1, 2].item() == pytest.approx(change)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_layers_are_seen_layer_by_layer(kind, bidirectional, batch_first):
    """Against cells that are run by hand, step by step."""
    torch.manual_seed(0)
    options = {"num_layers": 2, "bidirectional": bidirectional, "batch_first": batch_first}
    model = kind(3, 4, **options).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64)  # steps × batch × features
    state = torch.get_rng_state()
    found = norms(model, x.transpose(0, 1) if batch_first else x)
    assert torch.equal(torch.get_rng_state(), state)
    cell_kind = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}[kind]
    for layer in range(2):
        outputs = []
        for end in ["", "_reverse"][: 1 + bidirectional]:
            cell = cell_kind(x.shape[-1], 4).double()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                setattr(cell, name, getattr(model, f"{name}_l{layer}{end}"))
            hidden, squares, reached = None, torch.zeros(4).double(), []
            for step in x.flip(0) if end else x:
                if hidden is not None:
                    state = hidden[0] if kind is nn.LSTM else hidden
                    squares += state.square().sum(0).detach()
                hidden = cell(step, hidden)
                reached.append(hidden[0] if kind is nn.LSTM else hidden)
            outputs.append(torch.stack(reached[::-1] if end else reached))
            inputs_seen = found[f"weight_ih_l{layer}{end}"][0].square()
            assert torch.allclose(inputs_seen, x.square().sum((0, 1)).detach())
            assert torch.allclose(found[f"weight_hh_l{layer}{end}"][0].square(), squares)
        x = torch.cat(outputs, -1)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_count_what_there_is_and_no_padding(bidirectional):
    torch.manual_seed(0)
    model = nn.LSTM(3, 4, num_layers=2, bidirectional=bidirectional).double()
    sequences = [torch.randn(n, 3, dtype=torch.float64) for n in (5, 3, 1)]
    padded = nn.utils.rnn.pad_sequence(sequences)

    class Packs(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = model

        def forward(self, x):
            return self.lstm(pack_padded_sequence(x, [5, 3, 1]))[0].data

    together = norms(Packs(), padded)
    alone = [norms(model, sequence.unsqueeze(1)) for sequence in sequences]
    for name, found in together.items():
        expected = sum(each[name.removeprefix("lstm.")].square() for each in alone)
        assert torch.allclose(found.square(), expected), name


def test_initial_states_are_multiplied_with_weights_too():
    torch.manual_seed(0)
    gru = nn.GRU(3, 4).double()
    start = torch.randn(1, 2, 4, dtype=torch.float64)

    class Starts(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = gru

        def forward(self, x):
            return self.gru(x, start)[0]

    x = torch.randn(1, 2, 3, dtype=torch.float64)  # one step: nothing but the initial state
    found = norms(Starts(), x)["gru.weight_hh_l0"]
    assert torch.allclose(found[0].square(), start.square().sum((0, 1)))


def test_a_shared_layer_counts_all_its_uses():
    torch.manual_seed(0)
    layer = nn.Linear(4, 4).double()
    x = torch.randn(10, 4, dtype=torch.float64)
    found = norms(nn.Sequential(layer, layer), x)["0.weight"]
    second = F.linear(x, layer.weight, layer.bias).detach()
    assert torch.allclose(found[0].square(), x.square().sum(0) + second.square().sum(0))


def test_weights_whose_inputs_cannot_be_seen_are_not_pruned():
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.out = nn.MultiheadAttention(8, 2), nn.Linear(8, 2)

    names = removable(Wanda(), Attends())
    assert not any(name.startswith("attention") for name in names)
    assert "out.weight" in names
    assert removable(Wanda(), nn.LSTM(3, 4, proj_size=2)) == []


def test_layers_of_a_transformer_are_seen_although_torch_could_fuse_them():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).double()
    found = norms(layer, torch.randn(3, 5, 8, dtype=torch.float64))
    assert (found["linear1.weight"] > 0).all()
    assert (found["linear2.weight"] > 0).any()


def by_the_paper(model, inputs, groups_of):
    """Each layer in turn: of each row of |w|·‖x‖ the lowest part of every group goes, by a loop."""
    masks = {}
    for module, seen in zip(model[::2], (inputs, model[:2](inputs)), strict=True):
        norms = [seen[:, j].square().sum().sqrt().item() for j in range(seen.shape[1])]
        mask = torch.ones_like(module.weight, dtype=torch.bool)
        width = groups_of or seen.shape[1]
        for i, row in enumerate(module.weight):
            for start in range(0, seen.shape[1], width):
                group = range(start, start + width)
                order = sorted(group, key=lambda j, row=row: abs(row[j].item()) * norms[j])
                mask[i, order[: width // 2]] = False
        masks[module] = mask
    return masks


@pytest.mark.parametrize(
    ("strategy", "groups_of"),
    [(Wanda(allocation=PerOutput()), None), (Wanda(structure=NM()), 4)],
    ids=["in each output", "2:4"],
)
def test_weights_compete_where_the_paper_has_them_compete(strategy, groups_of):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 6))
    inputs = torch.randn(50, 16) * torch.rand(16)
    with torch.no_grad():
        expected = by_the_paper(model, inputs, groups_of)
    masks = strategy.masks(context_of(model, Inputs(inputs)), (16 * 12 + 12 * 6) // 2)
    assert kept(masks) == (16 * 12 + 12 * 6) // 2
    assert torch.equal(masks["0.weight"], expected[model[0]])
    assert torch.equal(masks["2.weight"], expected[model[2]])
