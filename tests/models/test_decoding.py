"""Decoding against an exhaustive search, and batches against single sentences."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from prunebench.models import Seq2SeqLSTM
from prunebench.models.decoding import beam_search, greedy

BEGIN, END = 2, 3


class Table:
    """A decoder whose next token depends on the sentence and on the token before."""

    def __init__(self, sentences, tokens, seed):
        generator = torch.Generator().manual_seed(seed)
        self.logits = 2 * torch.randn(sentences, tokens, tokens, generator=generator).double()

    def step(self, tokens, state):
        (sentences,) = state
        return self.logits[sentences, tokens], state

    def start(self):
        return (torch.arange(len(self.logits)),)

    def best(self, sentence, limit, normalisation):
        """The best output of all there are."""
        steps = F.log_softmax(self.logits[sentence], 1)
        others = [token for token in range(len(steps)) if token != END]
        found = []
        for length in range(limit):
            for tokens in itertools.product(others, repeat=length):
                path = [BEGIN, *tokens, END]
                total = sum(float(steps[a, b]) for a, b in itertools.pairwise(path))
                found.append((total / (length + 1) ** normalisation, list(tokens)))
        return max(found)


@pytest.mark.parametrize("normalisation", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_the_best_of_all_outputs(normalisation, seed):
    table = Table(4, 5, seed)
    limits = torch.tensor([4, 3, 4, 2])
    found = beam_search(table.step, table.start(), limits, BEGIN, END, 400, normalisation)
    for sentence, hypothesis in enumerate(found):
        score, tokens = table.best(sentence, int(limits[sentence]), normalisation)
        assert hypothesis.tokens == tokens
        assert hypothesis.score == pytest.approx(score)


@pytest.mark.parametrize("beam", [1, 5])
def test_where_probabilities_are_no_numbers_a_search_comes_to_an_end(beam):
    table = Table(3, 6, 0)
    table.logits[1:] = torch.nan
    limits = torch.tensor([4, 4, 2])
    found = beam_search(table.step, table.start(), limits, BEGIN, END, beam, 1.0)
    alone = beam_search(table.step, (torch.tensor([0]),), limits[:1], BEGIN, END, beam, 1.0)
    assert found[0].tokens == alone[0].tokens
    assert len(found) == 3


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_is_greedy(seed):
    table = Table(50, 9, seed)
    limits = torch.full((50,), 12)
    found = beam_search(table.step, table.start(), limits, BEGIN, END, 1, 1.0)
    expected = greedy(table.step, table.start(), limits, BEGIN, END)
    for hypothesis, tokens in zip(found, expected, strict=True):
        assert hypothesis.tokens == tokens


def network(**settings):
    torch.manual_seed(0)
    model = Seq2SeqLSTM(classes=40, embedding=12, hidden=16, **settings).double()
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    return model


def score(model, tokens, source):
    """The log-probability of an output and its end."""
    target = torch.tensor([BEGIN, *tokens])
    pair = torch.zeros(1, 2, max(len(source), len(target)), dtype=torch.long)
    pair[0, 0, : len(source)], pair[0, 1, : len(target)] = source, target
    with torch.no_grad():
        steps = F.log_softmax(model.eval()(pair)[0], 1)
    return sum(float(steps[n, token]) for n, token in enumerate([*tokens, END]))


def sentences(count, seed=0):
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randint(4, 40, (count, 9), generator=rng)
    lengths = torch.randint(1, 9, (count,), generator=rng)
    rows[torch.arange(9) >= lengths.unsqueeze(1)] = 0
    rows[torch.arange(count), lengths] = END
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"layers": 2, "input_feeding": True, "tied": "all"}])
@pytest.mark.parametrize("beam", [1, 2, 5])
def test_a_batch_gives_what_single_sentences_give(settings, beam):
    model = network(**settings)
    sources = sentences(30)
    together = model.translate(sources, BEGIN, END, beam)
    alone = [model.translate(row[row != 0].unsqueeze(0), BEGIN, END, beam)[0] for row in sources]
    assert together == alone
    assert len({tuple(tokens) for tokens in together}) > 10


@pytest.mark.slow
def test_in_single_precision_a_batch_differs_only_where_scores_tie():
    exact, model = network(), network().float()
    sources = sentences(200)
    together = model.translate(sources, BEGIN, END)
    for tokens, source in zip(together, sources, strict=True):
        source = source[source != 0]
        (alone,) = model.translate(source.unsqueeze(0), BEGIN, END)
        if tokens != alone:
            one, other = (
                score(exact, output, source) / (len(output) + 1) for output in (tokens, alone)
            )
            assert one == pytest.approx(other, abs=1e-5)


def test_translating_leaves_the_mode_as_it_is_and_draws_nothing():
    model = network(dropout=0.5).train()
    state = torch.get_rng_state()
    first = model.translate(sentences(4), BEGIN, END)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert first == model.translate(sentences(4), BEGIN, END)


def test_length_normalisation_makes_translations_longer():
    model = network()
    lengths = [
        sum(map(len, model.translate(sentences(30), BEGIN, END, 5, normalisation)))
        for normalisation in (0.0, 1.0, 2.0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2]


def test_the_search_finds_what_is_at_least_as_probable_as_the_greedy_choice():
    model = network()
    sources = sentences(30)
    wide = model.translate(sources, BEGIN, END, 10, 0.0)
    narrow = model.translate(sources, BEGIN, END, 1)
    gains = [
        score(model, one, source[source != 0]) - score(model, other, source[source != 0])
        for one, other, source in zip(wide, narrow, sources, strict=True)
    ]
    assert sum(gain >= -1e-9 for gain in gains) >= 27
    assert sum(gains) > 0
