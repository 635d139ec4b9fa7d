"""Perplexity of any task whose loss is a mean cross-entropy, against torch's own."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import prunebench
from prunebench.datasets import Task
from prunebench.errors import UsageError
from prunebench.metrics import Perplexity, Subject
from prunebench.models import LeNetSmall

PADDING, CLASSES = 3, 7


class Letters(Task):
    """A language-model task: sequences of unequal length, each letter from those before it."""

    input_shape, classes, quality, padding = (5,), CLASSES, "Perplexity", PADDING

    def __init__(self):
        rng = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(0, CLASSES, (23, 6), generator=rng)
        self.tokens[self.tokens == PADDING] = 0
        for row, length in enumerate(torch.randint(1, 6, (23,), generator=rng).tolist()):
            self.tokens[row, 1 + length :] = PADDING

    def size(self, split):
        return len(self.tokens)

    def batches(self, split, batch_size, generator=None):
        for tokens in self.tokens.split(batch_size):
            yield tokens[:, :-1], tokens[:, 1:]

    def examples(self, batch):
        return int((batch[1] != PADDING).sum())

    def loss(self, model, batch):
        logits = model(batch[0]).flatten(0, 1)
        return F.cross_entropy(logits, batch[1].flatten(), ignore_index=PADDING)

    def inputs(self, batch_size):
        return self.tokens[:batch_size, :-1]


class Squares(Letters):
    """The same with another loss."""

    def loss(self, model, batch):
        return (model(batch[0]) - F.one_hot(batch[1], CLASSES)).square().mean()


def predictor():
    torch.manual_seed(1)
    return nn.Sequential(nn.Embedding(CLASSES, 4), nn.Linear(4, CLASSES))


def subject(model, task):
    return Subject(model, model, task, ())


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_perplexity_of_a_classifier_is_exp_of_its_mean_cross_entropy(digits, batch_size):
    torch.manual_seed(0)
    model = LeNetSmall().eval()
    ((inputs, labels),) = digits.batches("test", 10_000)
    with torch.no_grad():
        expected = math.exp(float(F.cross_entropy(model(inputs), labels)))
    metric = Perplexity(batch_size)
    metric.check(digits, model)
    measured = metric.measure(subject(model, digits))
    assert measured["perplexity"] == pytest.approx(expected, rel=1e-5)
    assert set(measured) == {"perplexity", "loss"}, "nobody has counted words"


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_the_perplexity_of_a_language_model_is_over_its_tokens_without_padding(batch_size):
    task, model = Letters(), predictor()
    tokens = [
        (int(before), int(after))
        for inputs, labels in zip(task.tokens[:, :-1], task.tokens[:, 1:], strict=True)
        for before, after in zip(inputs, labels, strict=True)
        if after != PADDING
    ]
    with torch.no_grad():
        steps = model(torch.arange(CLASSES)).log_softmax(1)
    expected = math.exp(-sum(float(steps[pair]) for pair in tokens) / len(tokens))
    metric = Perplexity(batch_size)
    metric.check(task, model)
    assert metric.measure(subject(model, task))["perplexity"] == pytest.approx(expected, rel=1e-5)
    shares = torch.tensor([after for _, after in tokens]).bincount() / len(tokens)
    entropy = float(-(shares[shares > 0] * shares[shares > 0].log()).sum())
    assert metric.least(task, "test") == pytest.approx(math.exp(0.95 * entropy), rel=1e-5)


def test_another_loss_is_refused_in_a_sentence():
    with pytest.raises(UsageError, match="the loss of the task Squares is not the mean cross-ent"):
        Perplexity().check(Squares(), predictor())


DATA = """
from dataclasses import dataclass
import torch
from prunebench.datasets import Classification, Digits

class Distances(Classification):
    quality = {quality!r}
    def loss(self, model, batch):
        {loss}

@dataclass(frozen=True)
class Data(Digits):
    "Digits with a loss of their own."
    def load(self, folder):
        task = super().load(folder)
        task.__class__ = Distances
        return task
"""
SQUARES = "return (model(batch[0]).sum(1) - batch[1]).square().mean()"
PLAIN = "return super().loss(model, batch)"


@pytest.mark.parametrize("settings", [{"metrics": ["Perplexity"]}, {}])
def test_a_task_without_perplexity_is_refused_before_anything_runs(experiment, tmp_path, settings):
    own = "Accuracy" if settings else "Perplexity"
    (tmp_path / "data.py").write_text(DATA.format(quality=own, loss=SQUARES))
    made = experiment(dataset=f"{tmp_path / 'data.py'}:Data", **settings)
    with pytest.raises(UsageError, match="Perplexity is not possible here: the loss of the task D"):
        prunebench.run(made, runs=tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("??/*"))


def test_a_task_scored_by_what_says_nothing_of_quality_is_refused(experiment, tmp_path):
    (tmp_path / "data.py").write_text(DATA.format(quality="Size", loss=PLAIN))
    with pytest.raises(UsageError, match="cannot be scored by Size, which has no number of qual"):
        prunebench.run(experiment(dataset=f"{tmp_path / 'data.py'}:Data"), runs=tmp_path / "runs")


def test_any_task_may_be_scored_by_perplexity(experiment, tmp_path):
    (tmp_path / "data.py").write_text(DATA.format(quality="Perplexity", loss=PLAIN))
    made = experiment(dataset=f"{tmp_path / 'data.py'}:Data", measurements=["Size"])
    record = prunebench.run(made, runs=tmp_path / "runs")
    assert dict(record.quality) == {"perplexity": "lower", "loss": "lower"}
    assert not record.described, "the names of ours say enough"
    assert record.dense["perplexity"] == pytest.approx(math.exp(record.dense["loss"]))
    assert 1 < record.least_dense_quality < 10
