"""Text: what becomes of files on the way to a batch, what perplexity makes of it, and bad files."""

import gzip
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from prunebench.datasets import DATASETS, Multi30kText, Text
from prunebench.datasets.subwords import END, ExactSubwords
from prunebench.errors import UsageError
from prunebench.metrics import Perplexity, Subject

TEXTS = {
    "train": "the cat sat on the mat\n\n  the   dog sat on the log\n" * 40,
    "validation": "a cat\tand a dog\n",
    "test": "the hat: ☃ änd 日本\r\n  sat \n\n on the map",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for split, text in TEXTS.items():
        (folder / f"{split}.txt").write_bytes(text.encode())
    return folder


def load(folder, **settings):
    return Text(str(folder), **{"length": 16, **settings}).load(Path())


def in_order(task, split, batch_size=3):
    """What is to be predicted, and what it is predicted from, block after block."""
    return [
        (tokens.tolist(), labels.tolist())
        for batch in task.batches(split, batch_size)
        for tokens, labels in zip(*batch, strict=True)
    ]


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("length", [1, 7, 16, 1000])
def test_every_byte_is_predicted_once_from_those_before_it_in_its_block(folder, split, length):
    task = load(folder, length=length)
    stream = b"\n" + TEXTS[split].encode()
    blocks = in_order(task, split)
    assert len(blocks) == task.size(split)
    predicted = b""
    for tokens, labels in blocks:
        known = [label for label in labels if label != task.padding]
        assert bytes(tokens[: len(known)]) == stream[len(predicted) : len(predicted) + len(known)]
        predicted += bytes(known)
    assert predicted == stream[1:]


@pytest.mark.parametrize("stride", [1, 5, 16])
def test_with_a_stride_each_is_predicted_once_from_at_least_as_many_before_it(folder, stride):
    task = load(folder, stride=stride)
    stream = b"\n" + TEXTS["test"].encode()
    predicted = []
    for number, (tokens, labels) in enumerate(in_order(task, "test")):
        start = number * stride
        for place, label in enumerate(labels):
            if label != task.padding:
                assert bytes(tokens[: place + 1]) == stream[start : start + place + 1]
                assert place + 1 > 16 - stride or number == 0
                predicted.append(label)
    assert bytes(predicted) == stream[1:]
    assert in_order(task, "train") == in_order(load(folder), "train")


def test_training_has_whole_blocks_alone_each_once_in_the_generators_order(folder):
    task, stream = load(folder, length=100), b"\n" + TEXTS["train"].encode()
    assert task.size("train") == len(TEXTS["train"]) // 100
    assert task.steps(4) == math.ceil(task.size("train") / 4)
    blocks = in_order(task, "train")
    for number, (tokens, labels) in enumerate(blocks):
        assert bytes(tokens) == stream[100 * number : 100 * (number + 1)]
        assert bytes(labels) == stream[100 * number + 1 : 100 * (number + 1) + 1]
    mixed = [
        labels.tolist()
        for _, batch in task.batches("train", 4, torch.Generator().manual_seed(0))
        for labels in batch
    ]
    assert mixed != [labels for _, labels in blocks]
    assert sorted(mixed) == sorted(labels for _, labels in blocks)


def test_compressed_files_are_read_too(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    for split in TEXTS:
        assert in_order(load(tmp_path), split) == in_order(load(folder), split)


def test_inputs_are_as_many_test_blocks_as_are_asked_for(folder):
    task = load(folder)
    blocks = torch.tensor([tokens for tokens, _ in in_order(task, "test")])
    assert torch.equal(task.inputs(2), blocks[:2])
    assert torch.equal(task.inputs(2 * len(blocks)), blocks.repeat(2, 1))
    assert task.inputs(1).shape[1:] == task.input_shape


@pytest.mark.parametrize("split", TEXTS)
def test_subwords_give_any_text_back_to_the_letter(folder, tmp_path, split):
    lines = [line for line in TEXTS["train"].split("\n") if line]
    subwords = ExactSubwords.learned(lines, 290, tmp_path)
    task = load(folder, vocabulary=290, length=1)
    labels = [label for _, (label,) in in_order(task, split)]
    assert task.classes == len(subwords) == 290
    assert len(labels) < len(TEXTS[split].encode())
    written, line = [], []
    for token in [*labels, END]:
        if token == END:
            written.append(subwords.text(line))
            line = []
        else:
            line.append(token)
    assert "\n".join(written) == TEXTS[split]


class _Unigram(nn.Module):
    """Predicts each token with the same probabilities wherever it is."""

    def __init__(self, probabilities):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(probabilities).log())

    def forward(self, tokens):
        return self.logits.expand(*tokens.shape, -1)


@pytest.mark.parametrize("stride", [None, 3])
def test_perplexities_are_per_token_word_and_byte_of_the_text(folder, stride):
    task, content = load(folder, stride=stride), TEXTS["test"].encode()
    counts = Counter(content)
    model = _Unigram([(counts[byte] + 1) / (len(content) + 256) for byte in range(256)])
    nats = -sum(math.log((counts[byte] + 1) / (len(content) + 256)) for byte in content)
    metric = Perplexity(batch_size=2)
    metric.check(task, model)
    measured = metric.measure(Subject(model, model, task, ()))
    words = len(TEXTS["test"].split()) + TEXTS["test"].count("\n")
    assert measured["loss"] == pytest.approx(nats / len(content), rel=1e-5)
    assert measured["perplexity_per_byte"] == pytest.approx(math.exp(nats / len(content)), rel=1e-5)
    assert measured["perplexity_per_byte"] == measured["perplexity"]
    assert measured["perplexity_per_word"] == pytest.approx(math.exp(nats / words), rel=1e-5)


def test_perplexity_per_byte_does_not_count_subwords_but_bytes(folder):
    task = load(folder, vocabulary=290)
    tokens = sum(task.examples(batch) for batch in task.batches("test", 4))
    model = _Unigram([1 / 290] * 290)
    measured = Perplexity().measure(Subject(model, model, task, ()))
    assert measured["perplexity"] == pytest.approx(290, rel=1e-4)
    expected = 290 ** (tokens / len(TEXTS["test"].encode()))
    assert measured["perplexity_per_byte"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("files", "settings", "sentence"),
    [
        ({}, {"test": "none"}, r"there is no .*none, and no such file that ends with \.gz"),
        ({}, {"length": 10_000}, r"the train split has 2,040 tokens, and blocks of 10000 need"),
        ({"test.txt": b""}, {}, r"the test split has 0 tokens, .* need at least 1 there"),
        ({"test.txt": b"\xff"}, {}, r"test\.txt cannot be read as UTF-8 text"),
        ({}, {"test": "train.txt"}, r"test: 'train.txt' is not allowed: it is the train split too"),
        ({}, {"stride": 17}, r"stride: 17 is not allowed: .* at most the length of a block, 16"),
        ({}, {"vocabulary": 256}, r"vocabulary: 256 is not allowed .* at least 2\d\d"),
    ],
)
def test_bad_text_gets_one_clear_sentence(folder, tmp_path, files, settings, sentence):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(files.get(file.name, file.read_bytes()))
    with pytest.raises(UsageError, match=sentence) as caught:
        load(tmp_path, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Text(vocabulary='letters')", "vocabulary"),
        ("Text(vocabulary=255)", "vocabulary"),
        ("Text(length=0)", "length"),
        ("Text(stride=0)", "stride"),
        ("Multi30kText(language='pt')", "language: 'pt' is not allowed: give cs, de, en, fr"),
        ("Multi30kText(test='val')", "test: 'val' is not allowed: give test_2016_flickr"),
    ],
)
def test_settings_that_are_none_are_refused(text, sentence):
    with pytest.raises(UsageError, match=sentence):
        DATASETS.component(text).create()


def test_the_text_of_the_real_multi30k(real_data):
    task = Multi30kText().load(real_data)
    text = gzip.decompress((real_data / "multi30k/test_2016_flickr.en.gz").read_bytes())
    assert task.bytes("test") == len(text)
    assert task.words("test") == len(text.split()) + 1_000
    assert task.size("train") == 7_036
