"""Perplexity and BLEU against sums over single tokens and against sacreBLEU itself."""

import math

import pytest
import sacrebleu
import torch
from torch import nn
from torch.nn import functional as F

import prunebench
from prunebench.errors import UsageError
from prunebench.metrics import BLEU, Perplexity, Subject
from prunebench.models import Perceptron, Seq2SeqLSTM


@pytest.fixture(scope="module")
def model(reversal):
    torch.manual_seed(0)
    model = Seq2SeqLSTM(
        input_shape=reversal.input_shape, classes=reversal.classes, embedding=12, hidden=16
    )
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return model.double()


def subject(model, task, split="test"):
    return Subject(model, model, task, (), split)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_perplexity_is_of_single_tokens_ends_included_and_padding_not(model, reversal, batch_size):
    total, tokens, words = 0.0, 0, 0
    model.eval()
    with torch.no_grad():
        for inputs, labels in reversal.batches("test", 1):
            for pair, label in zip(inputs, labels, strict=True):
                steps = F.log_softmax(model(pair.unsqueeze(0))[0], 1)
                real = label[label != 0].tolist()
                total -= sum(float(steps[place, token]) for place, token in enumerate(real))
                tokens += len(real)
                words += len(reversal.text(real[:-1]).split()) + 1
    measured = Perplexity(batch_size).measure(subject(model, reversal))
    assert measured["loss"] == pytest.approx(total / tokens)
    assert measured["perplexity"] == pytest.approx(math.exp(total / tokens))
    assert measured["perplexity_per_word"] == pytest.approx(math.exp(total / words))


def test_a_hopeless_network_has_infinite_perplexity_and_no_traceback(reversal):
    model = Seq2SeqLSTM(classes=reversal.classes, embedding=4, hidden=4)
    with torch.no_grad():
        model.softmax.bias[5] = 1e6
    assert Perplexity().measure(subject(model, reversal))["perplexity"] == math.inf


class Parrot(nn.Module):
    """Translates every sentence by its reference, all but the first few of them."""

    def __init__(self, task, wrong):
        super().__init__()
        self.answers = {}
        for inputs, labels in task.batches("test", 60):
            for pair, label in zip(inputs, labels, strict=True):
                self.answers[tuple(pair[0][pair[0] != 0].tolist())] = label[label > 3].tolist()
        for source in list(self.answers)[:wrong]:
            self.answers[source] = self.answers[source][:-1] or [4]

    def translate(self, sources, begin, end, beam, length_normalisation):
        return [self.answers[tuple(row[row != 0].tolist())] for row in sources]


@pytest.mark.parametrize("wrong", [0, 20])
@pytest.mark.parametrize("batch_size", [7, 100])
def test_bleu_is_what_sacrebleu_says_of_the_translations(reversal, wrong, batch_size):
    parrot, metric = Parrot(reversal, wrong), BLEU(batch_size=batch_size)
    found = metric.measure(subject(parrot, reversal))["bleu"]
    texts = metric.translations(parrot, reversal, "test")
    expected = sacrebleu.corpus_bleu(texts, [reversal.references("test")])
    assert found == pytest.approx(expected.score)
    assert (found == pytest.approx(100)) == (wrong == 0)


@pytest.mark.slow
def test_bleu_does_not_depend_on_the_batch(model, reversal):
    scores = [BLEU(batch_size=size).translations(model, reversal, "test") for size in (1, 7, 100)]
    assert scores[0] == scores[1] == scores[2]


def test_the_signature_says_how_was_scored_and_searched():
    signature = BLEU(beam=3, length_normalisation=0.6).signature()
    assert f"version:{sacrebleu.__version__}" in signature
    assert "tok:13a" in signature
    assert "case:mixed" in signature
    assert signature.endswith("|beam:3|length:0.6")


def test_other_data_are_refused(digits):
    model = Perceptron(input_shape=digits.input_shape, classes=10)
    with pytest.raises(UsageError, match="it needs a data set of translations"):
        BLEU().measure(subject(model, digits))


def test_a_network_that_does_not_translate_is_refused(reversal):
    with pytest.raises(UsageError, match=r"Linear has no translate\(\)"):
        BLEU().measure(subject(nn.Linear(2, 2), reversal))


def test_a_metric_that_does_not_fit_is_refused_before_anything_runs(experiment, tmp_path):
    with pytest.raises(UsageError, match="BLEU is not possible here"):
        prunebench.run(experiment(metrics=["BLEU"]), runs=tmp_path)
    assert not list(tmp_path.iterdir())
