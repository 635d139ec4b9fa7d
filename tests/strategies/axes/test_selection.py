"""Selection by counting, against sorting."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.seeding import generator
from prunebench.strategies import keep_largest, keep_largest_of_all
from prunebench.strategies.axes import selection

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture(autouse=True)
def _counting_from_the_first_score_on(monkeypatch):
    monkeypatch.setattr(selection, "_FEW", 0)
    monkeypatch.setattr(selection, "_CHUNK", 7)


def numbers(dtype):
    width = {torch.float16: 16, torch.bfloat16: 16, torch.float32: 32, torch.float64: 64}[dtype]
    common = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, float("inf"), float("-inf")])
    return common | st.floats(allow_nan=False, width=width)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=150)
@given(data=st.data())
def test_what_is_chosen_is_what_sorting_chooses(dtype, data):
    values = data.draw(st.lists(st.lists(numbers(dtype), max_size=30), min_size=1, max_size=4))
    scores = [torch.tensor(each, dtype=dtype) for each in values]
    total = sum(map(len, scores))
    count = data.draw(st.integers(-1, total + 1))
    chosen = keep_largest_of_all(scores, count, generator(0))
    assert [each.shape for each in chosen] == [each.shape for each in scores]
    flat, picked = torch.cat(scores).double(), torch.cat(chosen)
    expected = max(0, min(count, total))
    assert int(picked.sum()) == expected
    ordered = flat.sort(descending=True).values
    assert torch.equal(flat[picked].sort(descending=True).values, ordered[:expected])


@pytest.mark.slow
@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    levels=st.integers(1, 5),
    seed=st.integers(0, 3),
)
def test_the_choice_does_not_depend_on_how_scores_are_divided(sizes, levels, seed):
    total = sum(sizes)
    scores = torch.randint(levels, (total,), generator=generator(seed)).float()
    together = keep_largest(scores, total // 2, generator(seed))
    divided = keep_largest_of_all(scores.split(sizes), total // 2, generator(seed))
    assert torch.equal(torch.cat(divided), together)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_counting_and_copying_choose_the_same(dtype, monkeypatch):
    torch.manual_seed(0)
    scores = [(torch.randn(50, 40) * 3).to(dtype), torch.randn(999).to(dtype)]
    counted = keep_largest_of_all(scores, 700, generator(0))
    monkeypatch.setattr(selection, "_FEW", 10**9)
    copied = keep_largest_of_all(scores, 700, generator(0))
    assert all(torch.equal(one, other) for one, other in zip(counted, copied, strict=True))


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize("count", [1_000, 500_000])
def test_a_gpu_chooses_what_the_cpu_chooses(count):
    scores = torch.randn(count, generator=generator(0)).round(decimals=2)
    chosen = (keep_largest(each, count // 3, generator(1)) for each in (scores, scores.cuda()))
    assert torch.equal(*(each.cpu() for each in chosen))


def test_lots_among_equals_are_fair():
    counts = torch.zeros(20)
    scores = [torch.zeros(13), torch.ones(1), torch.zeros(7)]
    for seed in range(600):
        first, best, second = keep_largest_of_all(scores, 6, generator(seed, "lots"))
        assert best.all()
        counts += torch.cat([first, second])
    assert counts.sum() == 5 * 600
    chi_square = ((counts - 150) ** 2 / (150 * 0.75)).sum() * 19 / 20
    assert chi_square < 43.8  # 0.1 % of the distribution with 19 degrees of freedom lies beyond


def test_scores_of_different_types_are_ranked_together():
    small = torch.tensor([1.0, 3.0], dtype=torch.float32)
    large = torch.tensor([2.0, 1.0 + 1e-12], dtype=torch.float64)
    one, other = keep_largest_of_all([small, large], 3, generator(0))
    assert one.tolist() == [False, True]
    assert other.tolist() == [True, True]
