"""The LSTM encoder–decoder: its size, its attention, and what it must not depend on."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from prunebench.benchmark.cell.target import flops_left
from prunebench.datasets.subwords import BEGIN, PADDING
from prunebench.errors import UsageError
from prunebench.metrics import Flops, Subject, flops_by_module, layer_table, work_by_weight
from prunebench.models import MODELS, Seq2SeqLSTM
from prunebench.models.seq2seq import PADDING as PADDING_OF_THE_MODEL
from prunebench.strategies import (
    check_equivalence,
    couple,
    output_weights,
    prunable_weights,
    shrink,
    weight_class,
    write_back,
)

VARIANTS = {
    "plain": {},
    "deep": {"layers": 3},
    "input feeding": {"layers": 2, "input_feeding": True},
    "tied": {"tied": "target", "input_feeding": True},
    "all tied": {"tied": "all", "layers": 2},
}


@pytest.fixture(params=VARIANTS)
def model(request, reversal):
    torch.manual_seed(0)
    return Seq2SeqLSTM(
        input_shape=reversal.input_shape,
        classes=reversal.classes,
        embedding=12,
        hidden=16,
        **VARIANTS[request.param],
    ).double()


def masked(model, kept, coupling):
    with torch.no_grad():
        parameters = dict(model.named_parameters())
        for name, mask in coupling.masks(model, kept).items():
            parameters[name].mul_(mask)


def test_both_rooms_mean_the_same_token_by_padding():
    assert PADDING == PADDING_OF_THE_MODEL


def test_the_size_is_that_of_its_layers():
    model = Seq2SeqLSTM(classes=4_000)
    embeddings = 2 * 4_000 * 256
    encoder = 2 * 4 * (128 * 256 + 128 * 128 + 2 * 128)
    decoder = 4 * (256 * 256 + 256 * 256 + 2 * 256)
    attention = 256 * 256 + 512 * 256
    softmax = 256 * 4_000 + 4_000
    total = embeddings + encoder + decoder + attention + softmax
    assert sum(parameter.numel() for parameter in model.parameters()) == total == 4_194_208


def test_one_step_of_attention_is_the_formula(model, reversal):
    model.eval()
    sources = reversal.inputs(3)[:, 0]
    memory, keys, padding, *_ = model.start(sources)
    queries = torch.randn(3, 2, 16, dtype=torch.float64)
    found = model.attention(queries, keys, memory, padding)
    weight, combine = model.attention.score.weight, model.attention.combine.weight
    for sentence in range(3):
        states = memory[sentence][~padding[sentence]]
        for step in range(2):
            query = queries[sentence, step]
            shares = F.softmax(torch.stack([query @ weight @ state for state in states]), 0)
            context = sum(share * state for share, state in zip(shares, states, strict=True))
            expected = torch.tanh(combine @ torch.cat([context, query]))
            assert torch.allclose(found[sentence, step], expected)


@pytest.mark.slow
def test_what_a_sentence_gives_does_not_depend_on_its_batch(model, reversal):
    model.eval()
    batches = list(reversal.batches("train", 1, torch.Generator().manual_seed(0)))[:100]
    assert len(batches) == 100
    pairs = [pair.T for batch, _ in batches for pair in batch]
    together = model(pad_sequence(pairs, batch_first=True).transpose(1, 2))
    assert len({len(pair) for pair in pairs}) > 5
    row = 0
    for batch, labels in batches:
        alone = model(batch)
        for logits, label in zip(alone, labels, strict=True):
            steps = int((label != PADDING).sum())
            assert torch.allclose(together[row, :steps], logits[:steps], atol=1e-12)
            row += 1
    assert row == len(pairs)


def test_a_token_depends_on_those_before_it_alone(model, reversal):
    model.eval()
    pairs = reversal.inputs(4).clone()
    before = model(pairs)
    pairs[:, 1, 3] = torch.where(pairs[:, 1, 3] == PADDING, 0, 5)
    after = model(pairs)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


def test_decoding_step_by_step_gives_the_logits_of_one_pass(model, reversal):
    model.eval()
    pairs = reversal.inputs(4)
    together = model(pairs)
    state = model.start(pairs[:, 0])
    for step in range(together.shape[1]):
        logits, state = model.step(pairs[:, 1, step], state)
        real = pairs[:, 1, step] != PADDING
        assert torch.allclose(logits[real, 1:], together[real, step, 1:])
        assert (logits[:, PADDING] == -torch.inf).all()
    assert (pairs[:, 1, 0] == BEGIN).all()


def test_every_parameter_learns(model, reversal):
    loss = reversal.loss(model.train(), next(reversal.batches("train", 64)))
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_weights_are_in_the_classes_of_the_study():
    model = Seq2SeqLSTM(classes=40, embedding=12, hidden=16, layers=2)
    classes = {name: weight_class(model, name) for name in prunable_weights(model)}
    assert list(dict.fromkeys(classes.values())) == [
        "source embedding",
        "target embedding",
        "encoder 1 input-to-hidden",
        "encoder 1 hidden-to-hidden",
        "encoder 2 input-to-hidden",
        "encoder 2 hidden-to-hidden",
        "decoder 1 input-to-hidden",
        "decoder 1 hidden-to-hidden",
        "decoder 2 input-to-hidden",
        "decoder 2 hidden-to-hidden",
        "attention",
        "softmax",
    ]
    assert classes["encoder.1.weight_hh_l0_reverse"] == "encoder 2 hidden-to-hidden"
    assert output_weights(model) == ("softmax.weight",)


@pytest.mark.parametrize(("tied", "matrices"), [("none", 3), ("target", 2), ("all", 1)])
def test_tied_embeddings_are_one_weight_of_one_class(tied, matrices):
    model = Seq2SeqLSTM(classes=40, embedding=12, hidden=16, tied=tied)
    large = [
        name for name in prunable_weights(model) if 40 in dict(model.named_parameters())[name].shape
    ]
    assert len(large) == matrices
    (shared,) = output_weights(model)
    assert shared in large
    if tied != "none":
        assert weight_class(model, shared) == "embeddings and softmax"
        assert model.softmax.weight is model.target_embedding.weight
    assert (model.source_embedding.weight is model.softmax.weight) == (tied == "all")


def test_untied_embeddings_are_pruned_each_by_itself(reversal):
    model = Seq2SeqLSTM(classes=reversal.classes, embedding=12, hidden=12)
    with torch.no_grad():
        model.target_embedding.weight.copy_(model.softmax.weight)
        before = model.softmax.weight.clone()
        model.target_embedding.weight.zero_()
    assert torch.equal(model.softmax.weight, before)


def test_flops_are_those_of_a_count_by_hand(reversal):
    model = Seq2SeqLSTM(classes=reversal.classes, embedding=12, hidden=16, layers=2)
    pair = reversal.inputs(1)
    source, target = ((pair[0, side] != PADDING).sum().item() for side in (0, 1))
    counted = flops_by_module(model, pair)
    assert counted["encoder.0"] == source * 2 * 4 * 8 * (12 + 8)
    assert counted["encoder.1"] == source * 2 * 4 * 8 * (16 + 8)
    assert counted["decoder.0"] == target * 4 * 16 * (12 + 16)
    assert counted["decoder.1"] == target * 4 * 16 * (16 + 16)
    assert counted["attention.score"] == source * 16 * 16
    assert counted["attention"] == 2 * target * source * 16
    assert counted["attention.combine"] == target * 32 * 16
    assert counted["softmax"] == target * 16 * reversal.classes
    assert set(counted) == {
        "encoder.0", "encoder.1", "decoder.0", "decoder.1",
        "attention", "attention.score", "attention.combine", "softmax",
    }  # fmt: skip
    with torch.no_grad():
        model.softmax.weight[::2] = 0
    measured = Flops().measure(Subject(model, model, reversal, ()))
    rows = (reversal.classes + 1) // 2
    assert measured["flops"] - measured["effective_flops"] == target * 16 * rows


@pytest.mark.slow
def test_channels_are_cut_out_of_every_kind_of_network(model, reversal):
    names = prunable_weights(model)
    coupling = couple(model, reversal.inputs(1), names)
    kept = torch.rand(coupling.channels, generator=torch.Generator().manual_seed(1)) > 0.4
    for group in coupling.groups.values():
        kept[group.start] = True
    masked(model, kept, coupling)
    small = shrink(model, coupling, kept)
    assert check_equivalence(model, small, reversal.inputs(16)) < 1e-12
    weights = dict(model.named_parameters())
    assert torch.equal(coupling.kept({name: weights[name] != 0 for name in names}), kept)
    smaller = dict(small.named_parameters())
    assert list(smaller) == list(weights)
    fractions = coupling.kept_fractions(kept)
    for name, weight in weights.items():
        assert smaller[name].numel() == round(weight.numel() * fractions.get(name, 1.0))
    sources = reversal.inputs(8)[:, 0]
    assert small.translate(sources, 2, 3) == model.translate(sources, 2, 3)
    for tensor in smaller.values():
        torch.nn.init.uniform_(tensor, -0.5, 0.5)
    write_back(small, model, coupling, kept)
    assert check_equivalence(model, small, reversal.inputs(16)) < 1e-12


def test_the_flops_of_the_shrunk_network_are_those_predicted(reversal):
    model = Seq2SeqLSTM(classes=reversal.classes, embedding=12, hidden=16)
    coupling = couple(model, reversal.inputs(1), prunable_weights(model))
    kept = torch.ones(coupling.channels, dtype=torch.bool)
    kept[::2] = False
    small = shrink(model, coupling, kept)
    fractions = coupling.kept_fractions(kept)
    predicted = {
        row.name: row.flops * fractions.get(row.name, 1.0)
        for row in layer_table(model, work_by_weight(model, reversal.inputs(1)))
    }
    for row in layer_table(small, work_by_weight(small, reversal.inputs(1))):
        assert row.flops == pytest.approx(predicted[row.name], abs=1), row.name
    # Products of activations too, of which the table has no row.
    in_all = flops_left(model, reversal.inputs(1))(coupling, kept)
    assert sum(flops_by_module(small, reversal.inputs(1)).values()) == pytest.approx(in_all, abs=1)


def test_a_group_that_is_not_all_prunable_stays(reversal):
    model = Seq2SeqLSTM(classes=reversal.classes, embedding=12, hidden=16)
    names = [name for name in prunable_weights(model) if name != "source_embedding.weight"]
    groups = couple(model, reversal.inputs(1), names).groups
    assert list(groups) == [
        "target_embedding.weight",
        "attention.combine.weight",
        "encoder.0.weight_ih_l0",
    ]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("Seq2SeqLSTM(layers=5)", "layers"),
        ("Seq2SeqLSTM(hidden=255)", "hidden"),
        ("Seq2SeqLSTM(tied='both')", "tied"),
        ("Seq2SeqLSTM(dropout=1.0)", "dropout"),
    ],
)
def test_impossible_sizes_are_refused(setting, sentence):
    with pytest.raises(UsageError, match=sentence):
        MODELS.component(setting).create()


def test_data_that_are_no_pairs_of_sequences_are_refused(digits):
    with pytest.raises(UsageError, match="needs pairs of sequences of tokens"):
        MODELS.component("Seq2SeqLSTM").create(input_shape=digits.input_shape, classes=10)


def test_networks_of_images_refuse_text(reversal):
    with pytest.raises(UsageError, match="needs images"):
        MODELS.component("LeNet5").create(input_shape=reversal.input_shape, classes=50)
