"""The multiply–adds of a network by what they multiply by, as fvcore counts them."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .modes import inference
from .weights import RECURRENT, Factor, TracedWeights, operands

# What fvcore counts beside convolutions and matrix products, and we do not.
_NOT_COUNTED = (
    "aten::batch_norm",
    "aten::group_norm",
    "aten::layer_norm",
    "aten::instance_norm",
    "aten::upsample_nearest2d",
    "aten::upsample_bilinear2d",
    "aten::adaptive_avg_pool2d",
    "aten::grid_sampler",
)


class Work(NamedTuple):
    """Multiply–adds that a module's own operations, not its submodules', do with one factor.

    Attributes:
        module: the module's name.
        factor: what is multiplied by.
        flops: multiply–adds.
    """

    module: str
    factor: Factor
    flops: int

    @property
    def effective(self) -> float:
        """Multiply–adds without those by zeros of a weight, each of which takes part equally often.

        So it is in convolutions, linear and recurrent layers (at the border of an image as fvcore
        counts: padding is multiplied too).
        """
        return self.flops * self.factor.density


def work_by_weight(model: nn.Module, inputs: Tensor) -> list[Work]:
    """Multiply–adds by what they multiply by, module by module in the order of their registration.

    Args:
        model: any module that torch.jit can trace.
        inputs: a batch; the counts are those of the whole batch.
    """
    weights = TracedWeights(model)
    with inference(model), _traceable():
        from fvcore.nn import FlopCountAnalysis  # importing it warns: it scripts a loss function

        analysis = FlopCountAnalysis(model, inputs)
        analysis.set_op_handle(**dict.fromkeys(_NOT_COUNTED, _nothing))
        for kind, products in _products().items():
            analysis.set_op_handle(kind, partial(_by_factor, weights, products))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        totals: Any = analysis.by_module_and_operator()
    own = {name: Counter(counts) for name, counts in totals.items()}
    for name, counts in totals.items():
        if name:
            own[name.rpartition(".")[0]].subtract(counts)
    return [
        Work(name, factor, int(flops))
        for name, counts in own.items()
        for factor, flops in counts.items()
        if int(flops) > 0
    ]


def work_left(work: Sequence[Work], shrunk: nn.Module | None, inputs: Tensor) -> Sequence[Work]:
    """The work of a masked network, where whole channels were removed.

    Products of activations, which no mask tells anything of, are then those of the shrunk network.

    Args:
        work: what the masked network does.
        shrunk: the same network without the channels that are gone; None where there is none.
        inputs: the batch on which both are counted.
    """
    if shrunk is None or all(each.factor.weight is not None for each in work):
        return work
    smaller = work_by_weight(shrunk, inputs)
    return [
        *(each for each in work if each.factor.weight is not None),
        *(each for each in smaller if each.factor.weight is None),
    ]


def flops_by_module(model: nn.Module, inputs: Tensor) -> Counter[str]:
    """Multiply–adds of each module's own operations; see :func:`work_by_weight`."""
    counts: Counter[str] = Counter()
    for each in work_by_weight(model, inputs):
        counts[each.module] += each.flops
    return counts


# From the inputs and outputs of an operation to its products: operands, and multiply–adds.
_Products = Callable[[Sequence[Any], Sequence[Any]], Iterable[tuple[Sequence[Any], int]]]


def _products() -> dict[str, _Products]:
    """How each kind of operation is counted: by fvcore, but for what it does not know."""
    from fvcore.nn import jit_handles

    counters = {
        "aten::_convolution": jit_handles.conv_flop_jit,
        "aten::linear": jit_handles.linear_flop_jit,
    }
    return {
        **{kind: partial(_one_product, kind, each) for kind, each in counters.items()},
        **{kind: partial(_sums_of, kind, depth) for kind, depth in _DEPTHS.items()},
        **{kind: partial(_recurrent, kind) for kind in RECURRENT},
        **{kind: partial(_chain, kind) for kind in _CHAINS},
        "aten::einsum": _einsum,
        "aten::scaled_dot_product_attention": _attention,
    }


_CHAINS = ("aten::linalg_multi_dot", "aten::chain_matmul")

_Depth = Callable[[Sequence[Any]], int]


def _of_rows(place: int) -> _Depth:
    """As long as the rows of an input are."""
    return lambda inputs: _shape(inputs[place])[-1]


def _of_filters(place: int) -> _Depth:
    """As large as a filter, the first dimension of whose tensor is that of outputs."""
    return lambda inputs: prod(_shape(inputs[place])[1:])


def _of_contracted(inputs: Sequence[Any]) -> int:
    dimensions = (value.toIValue() for value in inputs[2].node().inputs())
    return prod(_shape(inputs[0])[dimension] for dimension in dimensions)


# How many products are added up to each element of the output, where fvcore counts none, or not
# those of matrices that are multiplied with several others.
_DEPTHS: dict[str, _Depth] = {
    **dict.fromkeys(
        ("aten::matmul", "aten::mm", "aten::bmm", "aten::mv", "aten::dot", "aten::inner"),
        _of_rows(0),
    ),
    **dict.fromkeys(("aten::addmm", "aten::baddbmm", "aten::addmv"), _of_rows(1)),
    "aten::addbmm": lambda inputs: _shape(inputs[1])[0] * _shape(inputs[1])[-1],
    "aten::tensordot": _of_contracted,
    "aten::bilinear": _of_filters(2),
    "aten::_convolution_mode": _of_filters(1),  # padding="same" and "valid"
    "torchvision::deform_conv2d": _of_filters(1),
}


def _sums_of(
    kind: str, depth: _Depth, inputs: Sequence[Any], outputs: Sequence[Any]
) -> list[tuple[Sequence[Any], int]]:
    """For each element of the output as many multiply–adds."""
    return [(operands(kind, inputs), prod(_shape(outputs[0])) * depth(inputs))]


def _by_factor(
    weights: TracedWeights, products: _Products, inputs: Sequence[Any], outputs: Sequence[Any]
) -> Counter[Factor]:
    """An operation's multiply–adds by what it multiplies by, where fvcore has its kind."""
    counts: Counter[Factor] = Counter()
    for factors, flops in products(inputs, outputs):
        counts[weights.factor(factors) if factors else Factor(None)] += flops
    return counts


def _nothing(inputs: object, outputs: object) -> int:
    """The count of an operation that is not counted (fvcore ignores a None for those it knows)."""
    return 0


def _one_product(
    kind: str, counter: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]
) -> list[tuple[Sequence[Any], int]]:
    """What a counter of fvcore's says, which gives a number or, by other names, several."""
    counted = counter(inputs, outputs)
    flops = sum(counted.values()) if isinstance(counted, Counter) else counted
    return [(operands(kind, inputs), flops)]


def _recurrent(
    kind: str, inputs: Sequence[Any], outputs: object
) -> Iterator[tuple[Sequence[Any], int]]:
    """Each weight of a recurrent layer takes part once for each element of each sequence."""
    # Also of a packed sequence, whose data are steps × features.
    steps = prod(_shape(inputs[0])[:-1])
    for weight in operands(kind, inputs):
        yield [weight], steps * prod(_shape(weight))


def _einsum(inputs: Sequence[Any], outputs: Sequence[Any]) -> Iterator[tuple[Sequence[Any], int]]:
    """The products of two factors after the other, from the left, each as a matrix product.

    So torch forms them where it does not know of opt_einsum, and so they are counted everywhere.
    """
    left, arrow, right = inputs[0].toIValue().replace(" ", "").partition("->")
    factors = operands("aten::einsum", inputs)
    sizes: dict[str | int, int] = {}
    indices = []
    for term, factor in zip(left.split(","), factors, strict=True):
        shape = _shape(factor)
        # A dimension of size 1 takes any other size.
        named = zip(_named(term, len(shape)), shape, strict=True)
        own = {index: size for index, size in named if size != 1}
        sizes |= own
        indices.append(set(own))
    if arrow:
        result = set(_named(right, len(_shape(outputs[0]))))
    else:
        result = {each for each in sizes if isinstance(each, int) or left.count(each) == 1}
    product = indices[0]
    for place, other in enumerate(indices[1:], start=1):
        later = result.union(*indices[place + 1 :])
        # What only one of the two has, and nothing later, is added up beforehand.
        together = (product & other) | ((product | other) & later)
        yield factors[:2] if place == 1 else [factors[place]], prod(sizes[i] for i in together)
        product = (product | other) & later


def _named(term: str, dimensions: int) -> list[str | int]:
    """The dimensions of a factor by their letters, and where there are dots by their places."""
    before, _, after = term.partition("...")
    return [*before, *range(len(before) + len(after) - dimensions, 0), *after]


def _chain(
    kind: str, inputs: Sequence[Any], outputs: object
) -> Sequence[tuple[Sequence[Any], int]]:
    """The products of several matrices in that order that takes the fewest, as torch forms them."""
    factors = operands(kind, inputs)
    shapes = [_shape(each) for each in factors]
    sizes = [1 if len(shapes[0]) == 1 else shapes[0][0], *(each[0] for each in shapes[1:])]
    sizes.append(1 if len(shapes[-1]) == 1 else shapes[-1][1])

    @cache
    def between(first: int, last: int) -> tuple[tuple[Sequence[Any], int], ...]:
        """Of the factors from one to before another; a product of theirs is no factor."""
        if last - first == 1:
            return ()
        ways = []
        for middle in range(first + 1, last):
            parts = (first, middle), (middle, last)
            own = [factors[start] for start, end in parts if end - start == 1]
            count = sizes[first] * sizes[middle] * sizes[last]
            ways.append((*between(first, middle), *between(middle, last), (own, count)))
        return min(ways, key=lambda way: sum(count for _, count in way))

    return between(0, len(factors))


def _attention(inputs: Sequence[Any], outputs: object) -> Iterator[tuple[Sequence[Any], int]]:
    """The products of queries with keys, and of what comes out with values."""
    query, key, value = map(_shape, inputs[:3])
    pairs = prod(query[:-1]) * key[-2]
    yield inputs[:2], pairs * query[-1]
    yield inputs[2:3], pairs * value[-1]


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of a tensor in a traced graph."""
    return tuple(value.type().sizes())


@contextmanager
def _traceable() -> Iterator[None]:
    """Keep off the terminal what fvcore says of its own imports and of uncounted operations.

    And have attention traced as the operations it consists of, not as one that nothing can count.
    """
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level = logger.level
    logger.setLevel(logging.ERROR)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        torch.backends.mha.set_fastpath_enabled(fused)
