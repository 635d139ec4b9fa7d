"""Selection: exactly so many of the largest scores, however many ties there are.

Scores of a hundred million weights are neither sorted nor copied together: two passes that count
how many scores begin with which bits find the smallest one to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Up to so many scores it is faster to copy them together.
_FEW = 2**17
_CHUNK = 2**18
_DIGIT_BITS = 16
_DIGITS = 2**_DIGIT_BITS


def keep_largest(scores: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Choose exactly ``count`` of the largest ``scores``; ``generator`` draws lots among equals.

    Args:
        scores: of any shape, without NaN.
        count: how many to keep; below 0 counts as 0, above ``scores.numel()`` as all.
        generator: on the CPU, so that lots are the same on every device.

    Returns:
        A bool tensor of the shape of ``scores``.
    """
    return keep_largest_of_all([scores], count, generator)[0]


def keep_largest_of_all(
    scores: Sequence[Tensor], count: int, generator: torch.Generator
) -> list[Tensor]:
    """Choose exactly ``count`` of the largest of several tensors' scores, ranked together.

    The same scores give the same choice, into however many tensors they are divided.

    Args:
        scores: tensors of any shapes, on one device, without NaN.
        count: how many to keep in all; below 0 counts as 0, above their number as all.
        generator: draws lots among equals.

    Returns:
        A bool tensor of the shape of each tensor of scores.
    """
    total = sum(each.numel() for each in scores)
    if count <= 0:
        return [torch.zeros_like(each, dtype=torch.bool) for each in scores]
    if count >= total:
        return [torch.ones_like(each, dtype=torch.bool) for each in scores]
    flat = [each.reshape(-1) for each in scores]
    if len({each.dtype for each in flat}) > 1:
        flat = [each.double() for each in flat]
    least = _least(flat, count) if total > _FEW else _least_of_few(flat, count)
    lots = torch.randperm(least.equals, generator=generator)[: least.chosen]
    if least.chosen == least.equals:
        chosen = [each >= least.score for each in flat]
    else:
        chosen = _with_lots(flat, least.score, lots)
    return [choice.view(each.shape) for choice, each in zip(chosen, scores, strict=True)]


def _with_lots(flat: Sequence[Tensor], least: Tensor, lots: Tensor) -> list[Tensor]:
    """What is above ``least``, and of what equals it those whose numbers are among ``lots``."""
    chosen = [each > least for each in flat]
    first = 0
    for choice, each in zip(chosen, flat, strict=True):
        places = _places(each, least)
        own = lots[(lots >= first) & (lots < first + len(places))] - first
        choice[places[own.to(places.device)]] = True
        first += len(places)
    return chosen


class _Least(NamedTuple):
    """The least score that is kept, how many there are of it, and how many of them are chosen."""

    score: Tensor
    equals: int
    chosen: int


def _least_of_few(flat: Sequence[Tensor], count: int) -> _Least:
    """The score of rank ``count`` from above."""
    together = torch.cat(list(flat))
    score = together.kthvalue(len(together) - count + 1).values
    equals, above = int((together == score).sum()), int((together > score).sum())
    return _Least(score, equals, count - above)


def _least(flat: Sequence[Tensor], count: int) -> _Least:
    """The score of rank ``count`` from above, found digit by digit of its bits."""
    wide = flat[0].dtype == torch.float64
    digits = 4 if wide else 2
    prefix = equals = 0
    for position in reversed(range(digits)):
        shift = position * _DIGIT_BITS
        counts = torch.zeros(_DIGITS, dtype=torch.int64, device=flat[0].device)
        for keys in _keys(flat):
            if position < digits - 1:
                keys = keys[(keys >> (shift + _DIGIT_BITS)) == prefix]
            # The first digit has the sign and is the only one below zero.
            digit = (keys >> shift) & (_DIGITS - 1)
            counts += torch.bincount(digit, minlength=_DIGITS)
        if position == digits - 1:
            counts = counts.roll(_DIGITS // 2)  # negative ones first
        above = counts.flip(0).cumsum(0)
        index = int((above < count).sum())
        if index > 0:
            count -= int(above[index - 1])
        digit_found = _DIGITS - 1 - index
        equals = int(counts[digit_found])
        if position == digits - 1:
            prefix = digit_found - _DIGITS // 2
        else:
            prefix = (prefix << _DIGIT_BITS) | digit_found
    integer = torch.int64 if wide else torch.int32
    key = torch.tensor(prefix, dtype=integer, device=flat[0].device)
    number = _mirrored(key).view(torch.float64 if wide else torch.float32)
    return _Least(number.to(flat[0].dtype), equals, count)


def _keys(flat: Sequence[Tensor]) -> Iterator[Tensor]:
    """Integers in the same order as the scores, a part at a time."""
    for each in flat:
        for part in each.split(_CHUNK):
            # Adding zero makes -0 the 0 that it equals. Narrow types fit into float32.
            number = part + 0.0 if part.dtype == torch.float64 else part.float() + 0.0
            yield _mirrored(
                number.view(torch.int64 if part.dtype == torch.float64 else torch.int32)
            )


def _mirrored(bits: Tensor) -> Tensor:
    """Turn the order of negative numbers round, which their bits have upside down, and back."""
    width = 63 if bits.dtype == torch.int64 else 31
    return bits ^ ((bits >> width) & (2**width - 1))


def _places(flat: Tensor, value: Tensor) -> Tensor:
    """Where ``flat`` equals ``value``, in order."""
    parts = [(part == value).nonzero().squeeze(1) for part in flat.split(_CHUNK)]
    return torch.cat([part + _CHUNK * number for number, part in enumerate(parts)])
