"""The conformance kit names each planted mistake by the rule that it breaks, in one sentence."""

import copy
import random

import numpy as np
import pytest
import torch
from planted import (
    PLANTED,
    ChangesTheDefaultType,
    FindsNothing,
    FreesWhenGentler,
    GivesWeightsBackInTheMasksGiven,
    GlobalRandomness,
    LeavesAHook,
    LeavesEvaluationMode,
    MovesBatchStatistics,
    PutsOtherMasksInPlace,
    ShrinksWhatIsLeft,
    Signed,
    TunedBeyondWhatIsAllowed,
    TurnsGradientsOff,
    UnseededGenerator,
    UpsideDown,
    broken_rules,
)

from prunebench import UsageError
from prunebench.strategies import (
    Filters,
    Global,
    GlobalMagnitude,
    Uniform,
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANTED, ids=lambda kind: kind.__name__)
def test_a_planted_mistake_is_caught_by_the_check_that_names_it(kind):
    rule, words = PLANTED[kind]
    found = broken_rules(kind())
    assert rule in found
    assert any(words in sentence for sentence in found[rule]), found[rule]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        UpsideDown,
        FreesWhenGentler,
        UnseededGenerator,
        LeavesEvaluationMode,
        MovesBatchStatistics,
        LeavesAHook,
        GivesWeightsBackInTheMasksGiven,
        PutsOtherMasksInPlace,
        ShrinksWhatIsLeft,
        FindsNothing,
        TunedBeyondWhatIsAllowed,
    ],
    ids=lambda kind: kind.__name__,
)
def test_a_mistake_of_one_kind_is_blamed_on_one_rule(kind):
    assert list(broken_rules(kind())) == [PLANTED[kind][0]]


@pytest.mark.slow
@pytest.mark.parametrize("allocation", [Global(), Uniform()])
@pytest.mark.parametrize("structure_kind", [None, Filters])
@pytest.mark.parametrize("kind", [Signed, UpsideDown])
def test_a_wrong_sign_is_caught_in_any_allocation_and_structure(kind, structure_kind, allocation):
    settings = {"structure": structure_kind()} if structure_kind else {}
    assert PLANTED[kind][0] in broken_rules(kind(allocation=allocation, **settings))


class DividesByZero(GlobalMagnitude):
    def score(self, context):
        return {name: weight / (1 // 0) for name, weight in context.weights.items()}


class Refuses(GlobalMagnitude):
    def score(self, context):
        raise UsageError("only transformers can be pruned in this way")


def test_an_exception_becomes_one_sentence_with_the_line_of_the_users_file():
    violations = broken_rules(DividesByZero())["Exactly the budget is kept"]
    line = DividesByZero.score.__code__.co_firstlineno + 1
    assert violations == [
        "perceptron, convolutional network, network with tied weights, LSTM: raises "
        "ZeroDivisionError: integer division or modulo by zero "
        f"(test_planted_mistakes.py, line {line})"
    ]


def test_a_refusal_is_told_in_its_own_words():
    violations = broken_rules(Refuses())["Exactly the budget is kept"]
    assert violations[0].endswith("is refused: only transformers can be pruned in this way")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GlobalRandomness, TurnsGradientsOff, ChangesTheDefaultType])
def test_checking_leaves_the_global_state_of_the_process_as_it_was(kind):
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = copy.deepcopy((torch.get_rng_state().tolist(), random.getstate()))
    numpys = np.random.get_state()[1].tolist()
    broken_rules(kind())
    assert (torch.get_rng_state().tolist(), random.getstate()) == expected
    assert np.random.get_state()[1].tolist() == numpys
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.slow
def test_a_verdict_depends_on_no_random_state():
    torch.manual_seed(0)
    first = broken_rules(Signed())
    torch.manual_seed(1)
    assert broken_rules(Signed()) == first
