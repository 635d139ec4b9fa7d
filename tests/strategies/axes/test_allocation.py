"""Allocations, against torch's own pruning and against their definitions."""

import pytest
import torch
from contexts import context_of
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from prunebench.errors import UsageError
from prunebench.models import LeNetSmall, ResNetSmall
from prunebench.seeding import generator
from prunebench.strategies import (
    ERK,
    NM,
    ClassBlind,
    ClassDistribution,
    ClassUniform,
    ErdosRenyi,
    Explicit,
    Filters,
    Global,
    GlobalMagnitude,
    LayerMagnitude,
    PerOutput,
    Shuffled,
    Uniform,
    UniformPlus,
    Units,
    Unstructured,
    full_masks,
    kept,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(45, 13), nn.Linear(13, 4))


def masks_of(strategy, model, budget, masks=None):
    return strategy.masks(context_of(model, strategy=strategy, masks=masks), budget)


def units(scores, sizes=None):
    """Layers of units with these scores, of single weights unless their sizes are given."""
    sizes = sizes or dict.fromkeys(scores, 1)
    return {
        name: Units(s, sizes[name], torch.empty(len(s), sizes[name])) for name, s in scores.items()
    }


LAYERS = {"0.weight": 0, "2.weight": 2, "3.weight": 3}
TOTAL = 90 + 585 + 52


@pytest.mark.parametrize("budget", [0, 1, 50, 363, 726, 727])
def test_global_magnitude_is_torchs_global_unstructured_l1(budget):
    masks = masks_of(GlobalMagnitude(), network(), budget)
    reference = network()
    prune.global_unstructured(
        [(reference[index], "weight") for index in LAYERS.values()],
        prune.L1Unstructured,
        amount=TOTAL - budget,
    )
    assert kept(masks) == budget
    for name, index in LAYERS.items():
        assert torch.equal(masks[name], reference[index].weight_mask.bool())


@pytest.mark.parametrize("budget", [30, 100, 363, 727])
def test_layer_magnitude_is_torchs_l1_unstructured_in_each_layer(budget):
    masks = masks_of(LayerMagnitude(), network(), budget)
    reference = network()
    for name, index in LAYERS.items():
        amount = round((1 - budget / TOTAL) * reference[index].weight.numel())
        prune.l1_unstructured(reference[index], "weight", amount=amount)
        assert torch.equal(masks[name], reference[index].weight_mask.bool())


def test_uniform_removes_exactly_the_rounded_share_of_each_layer():
    scores = {"a": torch.rand(10), "b": torch.rand(7), "c": torch.rand(3)}
    chosen = Uniform().keep(units(scores), 6, generator(0))
    assert {name: int((~layer).sum()) for name, layer in chosen.items()} == {"a": 7, "b": 5, "c": 2}


def test_uniform_leaves_each_layer_its_minimum():
    scores = {"large": torch.rand(1000), "small": torch.rand(4)}
    sizes = dict.fromkeys(scores, 1)
    count = {
        n: int(m.sum()) for n, m in Uniform().keep(units(scores, sizes), 10, generator(0)).items()
    }
    assert count == {"large": 10, "small": 1}
    none = Uniform(minimum=0).keep(units(scores, sizes), 10, generator(0))
    assert not none["small"].any()


def test_global_may_empty_a_layer_and_its_minimum_forbids_it():
    scores = {"high": torch.arange(10.0) + 100, "low": torch.arange(5.0)}
    sizes = dict.fromkeys(scores, 1)
    emptied = Global().keep(units(scores, sizes), 6, generator(0))
    assert not emptied["low"].any()
    spared = Global(minimum=2).keep(units(scores, sizes), 6, generator(0))
    assert spared["low"].tolist() == [False, False, False, True, True]
    assert spared["high"].tolist() == [False] * 6 + [True] * 4


def test_a_minimum_brings_no_pruned_unit_back():
    scores = {"dead": torch.full((3,), -torch.inf), "alive": torch.rand(3)}
    chosen = Global(minimum=1).keep(units(scores), 2, generator(0))
    assert not chosen["dead"].any()


def test_units_of_different_sizes_are_kept_in_order_of_score_while_they_fit():
    scores = {"large": torch.tensor([5.0, 1.0]), "small": torch.tensor([4.0, 3.0, 2.0])}
    chosen = Global().keep(units(scores, {"large": 10, "small": 3}), 17, generator(0))
    assert chosen["large"].tolist() == [True, False]
    assert chosen["small"].tolist() == [True, True, False]


layers_of_units = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.integers(0, 3), min_size=1, max_size=12)),
    min_size=1,
    max_size=4,
)


def scores_and_sizes(layers):
    scores = {f"layer{i}": torch.tensor(v, dtype=torch.float) for i, (_, v) in enumerate(layers)}
    return scores, {f"layer{i}": size for i, (size, _) in enumerate(layers)}


def weights_kept(chosen, sizes):
    return sum(int(layer.sum()) * sizes[name] for name, layer in chosen.items())


@given(layers_of_units, st.floats(0, 1), st.integers(0, 100))
def test_global_never_exceeds_the_budget_and_misses_it_by_less_than_a_unit(layers, density, seed):
    scores, sizes = scores_and_sizes(layers)
    budget = round(density * sum(len(layer) * sizes[name] for name, layer in scores.items()))
    chosen = Global().keep(units(scores, sizes), budget, generator(seed))
    assert budget - max(sizes.values()) < weights_kept(chosen, sizes) <= budget


@given(layers_of_units, st.floats(0, 1), st.integers(0, 100))
def test_global_is_exact_for_single_weights_however_scores_tie(layers, density, seed):
    scores, _ = scores_and_sizes(layers)
    total = sum(map(len, scores.values()))
    budget = round(density * total)
    chosen = Global().keep(units(scores), budget, generator(seed))
    assert sum(int(layer.sum()) for layer in chosen.values()) == budget
    inside = [s for n, layer in chosen.items() for s in scores[n][layer].tolist()]
    outside = [s for n, layer in chosen.items() for s in scores[n][~layer].tolist()]
    assert not inside or not outside or min(inside) >= max(outside)


@given(layers_of_units, st.integers(1, 3), st.floats(0, 1), st.integers(0, 100))
def test_the_minimum_of_global_costs_no_weight_of_the_budget(layers, minimum, density, seed):
    scores, _ = scores_and_sizes(layers)
    sizes = dict.fromkeys(scores, 1)
    needed = sum(min(minimum, len(layer)) for layer in scores.values())
    budget = max(needed, round(density * sum(map(len, scores.values()))))
    chosen = Global(minimum=minimum).keep(units(scores, sizes), budget, generator(seed))
    assert weights_kept(chosen, sizes) == budget
    assert all(int(layer.sum()) >= min(minimum, len(layer)) for layer in chosen.values())


@given(layers_of_units, st.floats(0, 1), st.integers(0, 2), st.integers(0, 100))
def test_uniform_is_within_half_a_unit_of_its_share_in_each_layer(layers, density, minimum, seed):
    scores, sizes = scores_and_sizes(layers)
    total = sum(len(layer) * sizes[name] for name, layer in scores.items())
    budget = round(density * total)
    chosen = Uniform(minimum=minimum).keep(units(scores, sizes), budget, generator(seed))
    for layer in chosen.values():
        wanted = max(budget / total * len(layer), min(minimum, len(layer)))
        assert abs(int(layer.sum()) - wanted) <= 0.5 + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GlobalMagnitude, LayerMagnitude])
@given(first=st.integers(3, TOTAL), second=st.integers(3, TOTAL))
def test_a_second_pruning_keeps_only_what_the_first_did(kind, first, second):
    model = network()
    masks = masks_of(kind(), model, first)
    later = masks_of(kind(), model, second, masks)
    assert not any((later[name] & ~mask).any() for name, mask in masks.items())
    slack = 0 if kind is GlobalMagnitude else len(masks)
    assert abs(kept(later) - min(first, second)) <= slack


def shaped(*shapes):
    """Layers of single weights, of these shapes."""
    return {
        f"layer{i}": Units(torch.rand(torch.Size(shape).numel()), 1, torch.rand(shape))
        for i, shape in enumerate(shapes)
    }


def test_erdos_renyi_densities_are_in_the_proportion_of_the_definition():
    layers = shaped((300, 784), (100, 300), (1000, 1000))
    densities = ErdosRenyi().layer_densities(layers, 20_000)
    expected = [(784 + 300) / (784 * 300), 400 / 30_000, 2_000 / 1_000_000]
    ratios = [density / e for density, e in zip(densities.values(), expected, strict=True)]
    assert ratios == pytest.approx([ratios[0]] * 3)
    assert sum(d * layers[n].weights for n, d in densities.items()) == pytest.approx(20_000)


def test_erk_counts_the_sides_of_the_kernel():
    layers = shaped((64, 32, 3, 3), (128, 64, 1, 1))
    densities = list(ERK().layer_densities(layers, 2_000).values())
    expected = [(64 + 32 + 6) / (64 * 32 * 9), (128 + 64 + 2) / (128 * 64)]
    assert densities[0] / densities[1] == pytest.approx(expected[0] / expected[1])


@pytest.mark.slow
@pytest.mark.parametrize("allocation", [ErdosRenyi(), ERK()])
@given(
    shapes=st.lists(st.tuples(*[st.integers(1, 20)] * 2, *[st.integers(1, 5)] * 2), min_size=1,
                    max_size=5),
    density=st.floats(0, 1),
)  # fmt: skip
def test_full_layers_are_set_aside_so_that_the_budget_is_met_and_no_density_exceeds_one(
    allocation, shapes, density
):
    layers = shaped(*shapes)
    budget = round(density * sum(each.weights for each in layers.values()))
    densities = allocation.layer_densities(layers, budget)
    assert all(0 <= d <= 1 for d in densities.values())
    total = sum(d * layers[name].weights for name, d in densities.items())
    assert total == pytest.approx(budget, abs=1e-6)
    chosen = allocation.keep(layers, max(budget, len(layers)), generator(0))
    assert sum(int(mask.sum()) for mask in chosen.values()) == max(budget, len(layers))
    if all(densities[name] * len(mask) >= 1 for name, mask in chosen.items()):
        for name, mask in chosen.items():
            assert abs(int(mask.sum()) - densities[name] * len(mask)) < 1


@pytest.mark.parametrize("allocation", [ErdosRenyi(), ERK(), UniformPlus()])
@pytest.mark.parametrize("model", [ResNetSmall, LeNetSmall])
@pytest.mark.parametrize("structure", [Unstructured(), NM(n=1, m=2)])
def test_the_budget_is_met_to_the_weight_on_networks_however_their_layers_round(
    model, allocation, structure
):
    torch.manual_seed(0)
    network, strategy = model(), GlobalMagnitude(allocation=allocation, structure=structure)
    weights = {name: p for name, p in network.named_parameters() if p.ndim >= 2}
    total = sum(weight.numel() for weight in weights.values())
    masks = full_masks(weights)
    for sparsity in (0.5, 0.55, 0.7, 0.83, 0.9):  # round by round
        budget = min(total - round(sparsity * total), strategy.largest_budget(weights))
        masks = strategy.masks(context_of(network, masks=masks), budget)
        assert kept(masks) == budget


layers_of_shapes = st.lists(
    st.tuples(*[st.integers(1, 20)] * 2, *[st.integers(1, 5)] * 2), min_size=2, max_size=6
)


@pytest.mark.slow
@given(
    shapes=layers_of_shapes,
    density=st.floats(0, 1),
    shares=st.lists(st.floats(0.01, 1), min_size=6, max_size=6),
    minimum=st.integers(0, 3),
    least=st.sampled_from([0.0, 0.1, 0.3]),
)
def test_explicit_shares_and_a_guard_meet_the_budget_to_the_weight(
    shapes, density, shares, minimum, least
):
    layers = shaped(*shapes)
    explicit = Explicit(
        minimum=minimum, minimum_density=least, densities=dict(zip(layers, shares, strict=False))
    )
    assert_guarded(explicit, layers, density)


@pytest.mark.slow
@given(
    kind=st.sampled_from([Global, ClassBlind, ClassDistribution, ErdosRenyi, ERK]),
    shapes=layers_of_shapes,
    density=st.floats(0, 1),
    minimum=st.integers(0, 3),
    least=st.floats(0, 0.5),
)
def test_pruning_stops_in_a_layer_that_would_collapse_and_the_others_give_more(
    kind, shapes, density, minimum, least
):
    assert_guarded(kind(minimum=minimum, minimum_density=least), shaped(*shapes), density)


@given(
    shapes=layers_of_shapes,
    density=st.floats(0, 1),
    kind=st.sampled_from([Uniform, ClassUniform]),
    least=st.floats(0, 0.5),
)
def test_no_layer_collapses_where_each_is_pruned_by_itself(shapes, density, kind, least):
    layers = shaped(*shapes)
    layers = {name: each._replace(weight_class=name[-1:]) for name, each in layers.items()}
    allocation = kind(minimum=1, minimum_density=least)
    chosen = allocation.keep(layers, budget_of(allocation, layers, density), generator(0))
    assert all(int(m.sum()) >= max(1, least * len(m) - 1e-6) for m in chosen.values())


def test_a_guard_keeps_the_largest_weights_of_the_layer_that_it_saves():
    scores = {"high": torch.arange(100.0) + 100, "low": torch.arange(20.0)}
    chosen = Global(minimum_density=0.1).keep(units(scores), 30, generator(0))
    assert chosen["low"].tolist() == [False] * 18 + [True] * 2
    assert chosen["high"].tolist() == [False] * 72 + [True] * 28


def test_a_target_that_a_guard_does_not_allow_is_refused_with_the_one_that_it_does():
    strategy = GlobalMagnitude(allocation=Global(minimum_density=0.25))
    weights = {name: p for name, p in network().named_parameters() if p.ndim >= 2}
    assert strategy.smallest_budget(weights) == 23 + 147 + 13


def test_explicit_densities_that_leave_no_room_for_the_budget_are_refused():
    allocation = Explicit(densities={"0": 0.5, "2": 0, "3": 1})
    with pytest.raises(UsageError, match=r"keeping 200 weights is not possible: .* have 142"):
        masks_of(GlobalMagnitude(allocation=allocation), network(), 200)


def budget_of(allocation, layers, density):
    """The number of weights of a density, or as many as the allocation must keep."""
    matrices = {name: each.weight.reshape(-1, 1) for name, each in layers.items()}
    total = sum(each.weights for each in layers.values())
    return max(round(density * total), allocation.smallest(matrices))


def assert_guarded(allocation, layers, density):
    """The budget is met exactly, in this round and the next, and every layer keeps its least."""
    for share in (density, density / 2):
        budget = budget_of(allocation, layers, share)
        chosen = allocation.keep(layers, budget, generator(0))
        kept_now = {
            name: mask & (layers[name].scores > -torch.inf) for name, mask in chosen.items()
        }
        assert sum(int(mask.sum()) for mask in kept_now.values()) == budget
        for mask in kept_now.values():
            least = max(allocation.minimum, allocation.minimum_density * len(mask) - 1e-6)
            assert int(mask.sum()) >= min(least, len(mask))
        layers = {
            name: each._replace(scores=each.scores.masked_fill(~kept_now[name], -torch.inf))
            for name, each in layers.items()
        }


# Classes of weights (See et al. 2016).


class Declares(nn.Module):
    """Two classes: one of two layers, one of a single layer of much smaller weights."""

    weight_classes = {"a.weight": "large", "b.weight": "large", "c.weight": "small"}

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.c = nn.Linear(20, 30), nn.Linear(30, 10), nn.Linear(10, 40)
        with torch.no_grad():
            self.b.weight *= 2
            self.c.weight *= 1e-3


def masks_with(allocation, model, budget):
    strategy = GlobalMagnitude(allocation=allocation)
    return strategy.masks(context_of(model), budget)


def test_class_blind_is_one_ranking_of_everything():
    model = Declares()
    blind, one = (masks_with(kind(), model, 500) for kind in (ClassBlind, Global))
    assert all(torch.equal(blind[name], one[name]) for name in one)
    assert not blind["c.weight"].any()


def test_class_uniform_takes_the_same_fraction_of_each_class_in_one_ranking_within_it():
    model = Declares()
    masks = masks_with(ClassUniform(), model, 650)  # half of 600 + 300 + 400
    assert int(masks["c.weight"].sum()) == 200
    large = torch.cat([model.a.weight.detach().flatten(), model.b.weight.detach().flatten()]).abs()
    threshold = large.sort().values[-450]
    for name in ("a", "b"):
        weight = getattr(model, name).weight.detach().abs()
        assert torch.equal(masks[f"{name}.weight"], weight >= threshold)
    assert int(masks["a.weight"].sum()) != 300  # within the class it is not uniform


def test_class_distribution_prunes_below_one_multiple_of_each_classs_standard_deviation():
    model = Declares()
    masks = masks_with(ClassDistribution(), model, 650)
    assert kept(masks) == 650
    weights = {name: getattr(model, name).weight.detach().double() for name in "abc"}
    sigma = dict.fromkeys("ab", torch.cat([weights[n].flatten() for n in "ab"]).std(correction=0))
    sigma["c"] = weights["c"].std(correction=0)
    smallest = min((weights[n].abs() / sigma[n])[masks[f"{n}.weight"]].min() for n in "abc")
    largest = max((weights[n].abs() / sigma[n])[~masks[f"{n}.weight"]].max() for n in "abc")
    assert largest < smallest


def test_a_layer_is_a_class_of_its_own_where_the_model_declares_none():
    model = network()
    by_class = masks_of(GlobalMagnitude(allocation=ClassUniform()), model, 363)
    by_layer = masks_of(LayerMagnitude(), model, 363)
    assert {n: int(m.sum()) for n, m in by_class.items()} == pytest.approx(
        {n: int(m.sum()) for n, m in by_layer.items()}, abs=1
    )


# Densities that are given.


def test_uniform_plus_spares_the_first_layer_and_a_fifth_of_the_last():
    masks = masks_of(GlobalMagnitude(allocation=UniformPlus()), network(), 120)
    density = {name: mask.float().mean().item() for name, mask in masks.items()}
    assert density["0.weight"] == 1
    assert density["3.weight"] == pytest.approx(0.2, abs=0.01)
    assert density["2.weight"] == pytest.approx((120 - 90 - 10) / 585, abs=0.002)
    assert kept(masks) == pytest.approx(120, abs=2)


def test_uniform_plus_is_uniform_in_the_other_layers_when_little_is_pruned():
    masks = masks_of(GlobalMagnitude(allocation=UniformPlus()), network(), 400)
    assert masks["0.weight"].all()
    for name in ("2.weight", "3.weight"):
        assert masks[name].float().mean().item() == pytest.approx(310 / 637, abs=0.01)


def test_uniform_plus_says_what_it_cannot_keep():
    with pytest.raises(UsageError, match="keeping 60 weights is not possible"):
        masks_of(GlobalMagnitude(allocation=UniformPlus()), network(), 60)


def test_explicit_densities_are_met_exactly_at_the_target_they_add_up_to():
    densities = {"0": 0.5, "2.weight": 0.1, "3": 0.25}
    budget = round(0.5 * 90 + 0.1 * 585 + 0.25 * 52)
    masks = masks_of(GlobalMagnitude(allocation=Explicit(densities=densities)), network(), budget)
    counts = {name: int(mask.sum()) for name, mask in masks.items()}
    assert counts == pytest.approx({"0.weight": 45, "2.weight": 58.5, "3.weight": 13}, abs=0.51)


def test_explicit_densities_are_scaled_to_other_targets_and_never_exceed_a_layer():
    densities = {"0": 0.5, "2": 0.1, "3": 0.25}
    masks = masks_of(GlobalMagnitude(allocation=Explicit(densities=densities)), network(), 400)
    assert masks["0.weight"].all()
    assert masks["3.weight"].all()
    assert int(masks["2.weight"].sum()) == 400 - 90 - 52


def test_an_explicit_density_of_no_layer_is_refused_with_the_names_there_are():
    allocation = Explicit(densities={"conv1": 0.5})
    with pytest.raises(UsageError, match="densities: 'conv1' is not allowed"):
        masks_of(GlobalMagnitude(allocation=allocation), network(), 100)


# The sanity check.


@pytest.mark.parametrize("of", [Global(), Uniform(), ERK()])
def test_shuffling_keeps_the_count_of_each_layer_and_nothing_else(of):
    model = network()
    ours = masks_of(GlobalMagnitude(allocation=Shuffled(of=of)), model, 200)
    theirs = masks_of(GlobalMagnitude(allocation=of), model, 200)
    for name, mask in theirs.items():
        assert int(ours[name].sum()) == int(mask.sum())
    overlap = (ours["2.weight"] & theirs["2.weight"]).sum() / theirs["2.weight"].sum()
    assert abs(overlap - theirs["2.weight"].float().mean()) < 0.15  # that of independent draws


def test_shuffling_gives_nothing_back_that_was_pruned_before():
    model = network()
    first = masks_of(GlobalMagnitude(), model, 300)
    second = masks_of(GlobalMagnitude(allocation=Shuffled()), model, 100, first)
    assert kept(second) == 100
    assert not any((mask & ~first[name]).any() for name, mask in second.items())


def rows_kept(scores, budget, weight=None):
    """How many of each row an allocation per output keeps, and the mask."""
    weight = torch.empty(scores.shape) if weight is None else weight
    layer = {"layer": Units(scores.flatten(), 1, weight)}
    mask = PerOutput().keep(layer, budget, generator(0, "test"))["layer"].view(scores.shape)
    return mask.sum(1).tolist(), mask


@pytest.mark.parametrize("budget", [4, 24, 37, 39, 40])
def test_per_output_keeps_the_best_of_every_row(budget):
    scores = (
        torch.rand(4, 10, generator=torch.Generator().manual_seed(0)) + torch.arange(4)[:, None]
    )
    counts, mask = rows_kept(scores, budget)
    assert sum(counts) == budget
    assert max(counts) - min(counts) <= 1
    for row, chosen in zip(scores, mask, strict=True):
        assert chosen.all() or row[chosen].min() > row[~chosen].max()
    # What is left over goes where the next scores are highest, here to the last rows.
    assert counts == sorted(counts)


def test_per_output_takes_elsewhere_what_a_row_has_no_more():
    scores = torch.arange(12.0).view(3, 4)
    scores[0, 1:] = -torch.inf
    assert rows_kept(scores, 6)[0] == [1, 2, 3]
    assert rows_kept(scores, 9)[0] == [1, 4, 4]
    assert rows_kept(torch.zeros(3, 4), 6)[0] == [2, 2, 2]


def test_per_output_keeps_as_much_of_a_layer_as_uniform_and_refuses_units_of_several_weights():
    model = network()
    per_output = masks_of(LayerMagnitude(allocation=PerOutput()), model, 363)
    uniform = masks_of(LayerMagnitude(), model, 363)
    for name, mask in per_output.items():
        assert mask.sum() == uniform[name].sum()
        counts = mask.flatten(1).sum(1)
        assert counts.max() - counts.min() <= 1
    with pytest.raises(UsageError, match="PerOutput: a structure of more than single weights"):
        masks_of(LayerMagnitude(allocation=PerOutput(), structure=Filters()), model, 363)


def test_what_uniform_plus_can_keep_at_least_is_what_it_keeps_of_filters():
    allocation = UniformPlus(minimum=1)
    layers = {"first": torch.ones(4, 9), "middle": torch.ones(10, 36), "last": torch.ones(20, 5)}
    assert allocation.smallest(layers) == 36 + 1 * 36 + 4 * 5


def test_what_a_pattern_leaves_cannot_be_shuffled():
    with pytest.raises(UsageError, match="there is nothing left to shuffle"):
        GlobalMagnitude(allocation=Shuffled(), structure=NM())
