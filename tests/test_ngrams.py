"""The n-grams that language models are held against."""

import itertools
import math
from pathlib import Path

import pytest

from prunebench.datasets import Text
from prunebench.performance.ngram_perplexity import WittenBell, stream_of

STREAM = [0, 1, 2, 1, 2, 0, 1, 2, 2, 1]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_after_any_history_add_up_to_one(order):
    model = WittenBell(STREAM, order, 4)
    for history in itertools.product(range(4), repeat=2):
        assert sum(model.probability(history, token) for token in range(4)) == pytest.approx(1)


def test_probabilities_are_those_of_witten_and_bell():
    """By hand: of ten tokens 0, 1, 2 come 2, 4, 4 times; after 1 come three twos and no more."""
    alone = (4 + 3 / 4) / (10 + 3)
    assert WittenBell(STREAM, 1, 4).probability([1], 2) == pytest.approx(alone)
    assert WittenBell(STREAM, 2, 4).probability([0, 1], 2) == pytest.approx((3 + alone) / (3 + 1))
    never = (3 / 4) / 13
    assert WittenBell(STREAM, 2, 4).probability([1], 3) == pytest.approx(never / 4)
    assert WittenBell(STREAM, 2, 4).probability([3], 3) == pytest.approx(never)


def test_the_cross_entropy_is_that_of_each_token_after_those_before_it():
    model, other = WittenBell(STREAM, 3, 4), [1, 2, 3, 0]
    expected = [model.probability(other[:place], other[place]) for place in (1, 2, 3)]
    assert model.nats(other) == pytest.approx(-sum(map(math.log, expected)))


def test_the_stream_of_a_split_is_its_text(tmp_path):
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text("a cat and a dog\n")
    task = Text(str(tmp_path), length=4, stride=3).load(Path())
    assert bytes(stream_of(task, "test")) == b"\na cat and a dog\n"
