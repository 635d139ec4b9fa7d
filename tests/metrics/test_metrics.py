"""Metrics against counts and sums made by hand."""

import copy
import math
from dataclasses import dataclass

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from prunebench.datasets import Classification, LanguageModelling
from prunebench.datasets.language import Stream
from prunebench.errors import UsageError
from prunebench.metrics import (
    BLEU,
    METRICS,
    Accuracy,
    Flops,
    Latency,
    Size,
    Subject,
    TokenSpeed,
    ZeroShot,
    flops_by_module,
    layer_table,
    work_by_weight,
)
from prunebench.models import GPT, LeNet5, LeNetSmall, Seq2SeqLSTM


def task_of(examples, classes, shape=(1, 3, 3)):
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (examples, *shape), dtype=torch.uint8, generator=rng)
    labels = torch.randint(0, classes, (examples,), generator=rng)
    splits = dict.fromkeys(("train", "validation", "test"), (images, labels))
    return Classification(splits, classes)


def subject_of(model, task, prunable=()):
    return Subject(model, copy.deepcopy(model), task, tuple(prunable))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_accuracy_and_loss_are_means_over_examples_whatever_the_batch_size(batch_size):
    task = task_of(101, classes=12)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 12), nn.Dropout(0.5))
    measured = Accuracy(batch_size=batch_size).measure(subject_of(model, task))
    ((inputs, labels),) = task.batches("test", 101)
    logits = model.eval()(inputs).detach()
    hits = [int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True)]
    top5 = [
        int(label) in sorted(range(12), key=lambda k: -float(row[k]))[:5]
        for row, label in zip(logits, labels, strict=True)
    ]
    assert measured["top1"] == sum(hits) / 101
    assert measured["top5"] == sum(top5) / 101
    assert measured["loss"] == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)


def test_the_accuracy_of_each_class_is_that_of_its_examples():
    task = task_of(101, classes=4)
    task.class_names = ("a", "b", "c", "d")
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    found = Accuracy(batch_size=7).by_class(subject_of(model, task))
    ((inputs, labels),) = task.batches("test", 101)
    best = model(inputs).argmax(1)
    for number, name in enumerate("abcd"):
        mine = labels == number
        assert found[name] == pytest.approx(float((best[mine] == number).float().mean()))
    counts = labels.bincount().tolist()
    mean = sum(found[name] * count for name, count in zip("abcd", counts, strict=True)) / 101
    assert mean == pytest.approx(Accuracy().measure(subject_of(model, task))["top1"])


class _Fixed(nn.Module):
    """The same logits for every example."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, inputs):
        return self.logits.expand(len(inputs), -1)


@pytest.mark.parametrize("classes", [4, 40])
def test_among_equal_logits_one_class_is_chosen_for_the_whole_and_for_each_class(classes):
    task = task_of(200, classes)
    model = _Fixed([0.0] * classes)
    measured = Accuracy().measure(subject_of(model, task))
    by_class = Accuracy().by_class(subject_of(model, task))
    counts = next(iter(task.batches("test", 200)))[1].bincount(minlength=classes)
    right = sum(share * int(n) for share, n in zip(by_class.values(), counts, strict=True) if n)
    assert measured["top1"] == pytest.approx(right / 200)


def test_a_network_that_gives_no_numbers_is_never_right():
    measured = Accuracy().measure(subject_of(_Fixed([math.nan] * 20), task_of(200, 20)))
    assert measured["top1"] == measured["top5"] == 0
    assert math.isnan(measured["loss"])


@dataclass
class _Task:
    """A task of a user's as a plain dataclass, which is not hashable."""

    classes: int = 2

    def batches(self, split, batch_size):
        yield torch.zeros(4, 1), torch.tensor([0, 1, 1, 1])


def test_a_task_need_not_be_hashable():
    assert Accuracy().least(_Task(), "validation") == pytest.approx(0.75 + 0.05 * 0.25)


def test_a_class_without_examples_has_no_accuracy():
    task = task_of(20, classes=3)
    task.classes = 5
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 5))
    found = Accuracy().by_class(subject_of(model, task))
    assert math.isnan(found["3"])
    assert list(found) == ["0", "1", "2", "3", "4"]


def test_top5_is_given_only_where_there_are_more_than_ten_classes(digits):
    assert "top5" not in Accuracy().measure(subject_of(LeNetSmall(), digits))


def test_measuring_leaves_each_modules_mode_as_it_was(digits):
    model = LeNetSmall().train()
    model.linear2.eval()
    for name in METRICS.names():
        metric = METRICS.component(name).create()
        if isinstance(metric, Latency):
            metric = Latency(batch_sizes=(1,), repeats=3, sample_ms=0.01)
        try:
            metric.check(digits, model)
        except UsageError:
            continue  # it is one of translations
        metric.measure(subject_of(model, digits))
    assert model.training
    assert model.conv1.training
    assert not model.linear2.training


def test_sizes_are_those_counted_by_hand():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
        model[0].weight[0, :] = 0
        model[1].weight[1, 1] = 0
    measured = Size().measure(subject_of(model, None, ["0.weight", "1.weight"]))
    assert measured == {
        "parameters": 21,
        "nonzero": 16,
        "compression": 21 / 16,
        "sparsity": pytest.approx(5 / 21),
        "prunable_parameters": 18,
        "prunable_nonzero": 13,
        "prunable_compression": 18 / 13,
        "prunable_sparsity": pytest.approx(5 / 18),
    }


def test_a_shared_parameter_counts_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    assert Size().measure(subject_of(model, None))["parameters"] == 16


def test_the_compression_of_nothing_is_infinite():
    model = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(model.weight)
    assert Size().measure(subject_of(model, None))["compression"] == math.inf


class Everything(nn.Module):
    """Layers that counters of multiply-adds get wrong."""

    def __init__(self):
        super().__init__()
        self.plain = nn.Conv2d(8, 16, 3, bias=True)
        self.norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, groups=16, stride=2)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.sequence = nn.Conv1d(8, 4, 5)
        self.linear = nn.Linear(140, 6)

    def forward(self, x):
        x = torch.relu(self.norm(self.plain(x)))  # 16 × 18 × 18
        x = self.up(self.depthwise(x))  # 16 × 8 × 8, then 8 × 16 × 16
        x = self.sequence(x.flatten(2))  # 4 × 252
        return self.linear(x[:, :, :140])  # a sequence of four


def test_multiply_adds_are_those_of_the_closed_forms_layer_by_layer():
    counted = flops_by_module(Everything(), torch.zeros(1, 8, 20, 20))
    assert counted == {
        "plain": 18 * 18 * 16 * 8 * 9,
        "depthwise": 8 * 8 * 16 * 9,
        "up": 8 * 8 * 16 * 8 * 4,
        "sequence": 252 * 4 * 8 * 5,
        "linear": 4 * 140 * 6,
    }


def test_a_lone_layer_is_counted_too():
    assert flops_by_module(nn.Linear(5, 7), torch.zeros(1, 5)) == {"": 35}


def test_effective_multiply_adds_leave_out_the_zeros_layer_by_layer(digits):
    model = LeNetSmall()
    with torch.no_grad():
        model.conv2.weight.view(-1)[: 4608 // 4] = 0
        model.linear1.weight[:] = 0
    measured = Flops().measure(subject_of(model, digits))
    assert measured["flops"] == 149_760
    assert measured["effective_flops"] == 9_216 + 73_728 * 3 / 4 + 1_280
    assert measured["theoretical_speedup"] == 149_760 / measured["effective_flops"]


def test_the_layer_table_adds_up_to_the_whole(digits):
    model = LeNetSmall()
    with torch.no_grad():
        model.conv1.weight[3] = 0
    rows = layer_table(model, work_by_weight(model, digits.inputs(1)))
    size = Size().measure(subject_of(model, digits))
    flops = Flops().measure(subject_of(model, digits))
    assert [row.name for row in rows] == [name for name, _ in model.named_parameters()]
    assert sum(row.parameters for row in rows) == size["parameters"]
    assert sum(row.nonzero for row in rows) == size["nonzero"]
    assert sum(row.flops for row in rows) == flops["flops"]
    assert sum(row.effective_flops for row in rows) == flops["effective_flops"]


def test_latency_times_both_models_alternately_and_equally_often(digits):
    calls = []

    class Counting(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, x):
            calls.append((self.name, len(x)))
            return x

    subject = Subject(Counting("pruned"), Counting("dense"), digits, ())
    latency = Latency(batch_sizes=(1, 32), repeats=8, sample_ms=0.001)
    measured = latency.measure(subject)
    # Calibration apart, a sample of one is followed by a sample of the other.
    for size in (1, 32):
        names = [name for name, examples in calls if examples == size]
        runs = [names[0]]
        lengths = [0]
        for name in names:
            if name != runs[-1]:
                runs.append(name)
                lengths.append(0)
            lengths[-1] += 1
        assert names.count("dense") > 8
        assert len(runs) >= 8
        for key in ("dense_ms", "dense_iqr_ms", "pruned_ms", "pruned_iqr_ms"):
            assert measured[f"latency_batch{size}_{key}"] >= 0
        assert f"measured_speedup_batch{size}" in measured


def test_the_number_of_a_slower_model_is_larger(digits):
    class Slow(nn.Module):
        def forward(self, x):
            total = x
            for _ in range(200):
                total = total + x
            return total

    subject = Subject(Slow(), nn.Identity(), digits, ())
    measured = Latency(batch_sizes=(1,), repeats=5, sample_ms=0.5).measure(subject)
    assert measured["latency_batch1_pruned_ms"] > measured["latency_batch1_dense_ms"]
    assert not measured["measured_speedup_batch1"] >= 1  # it is in doubt on a busy machine


def test_every_number_that_a_metric_gives_has_a_definition(digits, reversal):
    size = {"input_shape": reversal.input_shape, "classes": reversal.classes}
    translator = Seq2SeqLSTM(**size, embedding=4, hidden=4)
    stream = Stream(torch.arange(60) % 7, 60, 60)
    text = LanguageModelling(dict.fromkeys(("train", "validation", "test"), stream), 7, 12, 12)
    generator = GPT(input_shape=(12,), classes=7, width=8, depth=1, heads=2, hidden=8)
    images = subject_of(LeNetSmall(), digits, ["conv1.weight"])
    subjects = {
        BLEU: subject_of(translator, reversal, ["softmax.weight"]),
        TokenSpeed: subject_of(generator, text),
    }
    for name in METRICS.names():
        metric = METRICS.component(name).create()
        if isinstance(metric, Latency):
            metric = Latency(batch_sizes=(2,), repeats=3, sample_ms=0.01)
        if isinstance(metric, ZeroShot):
            continue  # its tasks are elsewhere, and so are its tests
        if isinstance(metric, TokenSpeed):
            metric = TokenSpeed(prompt=2, tokens=2, repeats=3, seconds=0.01)
        defined = {key.replace("<n>", "2") for key in metric.definitions}
        found = set(metric.measure(subjects.get(type(metric), images)))
        assert found <= defined
        assert set(metric.qualities()) <= defined


def test_lenet5_has_the_true_count_where_shrinkbench_counts_convolutions_at_their_input_size():
    assert sum(flops_by_module(LeNet5(), torch.zeros(1, 1, 28, 28)).values()) == 2_293_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("resnet18", 1_814_073_344),
        ("mobilenet_v2", 300_774_272),
        ("vit_b_16", 17_563_828_224),
    ],
)
def test_known_networks_have_the_multiply_adds_of_their_matrix_products(name, flops):
    model = torchvision.models.get_model(name)
    assert sum(flops_by_module(model, torch.zeros(1, 3, 224, 224)).values()) == flops


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_layers_use_each_weight_once_for_each_step(kind, gates, batch_first):
    one = kind(128, 256, batch_first=batch_first)
    shape = (1, 20, 128) if batch_first else (20, 1, 128)
    assert flops_by_module(one, torch.zeros(shape)) == {"": gates * 256 * (128 + 256) * 20}
    deep = kind(16, 32, num_layers=2, bidirectional=True, batch_first=batch_first)
    by_hand = 2 * gates * 32 * ((16 + 32) + (64 + 32)) * 3 * 7
    assert flops_by_module(deep, torch.zeros(3, 7, 16)) == {"": by_hand}


def test_a_packed_sequence_counts_its_real_steps_only():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 8)

        def forward(self, inputs):
            packed = nn.utils.rnn.pack_padded_sequence(inputs, torch.tensor([5, 2]))
            return self.lstm(packed)[1][0]

    assert flops_by_module(Packed(), torch.zeros(5, 2, 4)) == {"lstm": 4 * 8 * 12 * (5 + 2)}


def test_the_effective_multiply_adds_of_an_lstm_leave_out_its_zeros(digits):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 16, batch_first=True)

        def forward(self, images):
            return self.lstm(images.flatten(1, 2))[0][:, -1]

    model = Reader()
    with torch.no_grad():
        model.lstm.weight_hh_l0.zero_()
    measured = Flops().measure(subject_of(model, digits))
    assert measured["flops"] == 8 * 4 * 16 * (8 + 16)
    assert measured["effective_flops"] == 8 * 4 * 16 * 8


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (nn.Conv2d(1, 5, 3), "1×5×1×1 numbers, and not 1×5 logits"),
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), "1×4 numbers, and not 1×5 logits"),
        (nn.LSTM(3, 5), "a tuple, and not 1×5 logits"),
    ],
)
def test_accuracy_asks_for_a_logit_of_each_class(model, given):
    task = task_of(20, classes=5)
    if isinstance(model, nn.LSTM):
        task.inputs = lambda batch_size: torch.zeros(batch_size, 1, 3)
    with pytest.raises(UsageError, match=f"for one example it gives {given}"):
        Accuracy().check(task, model)
    Accuracy().check(task_of(20, classes=5), nn.Sequential(nn.Flatten(), nn.Linear(9, 7)))
