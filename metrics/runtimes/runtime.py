"""What a runtime is: a way to run a network, which makes something of its zeros or does not."""

from __future__ import annotations

import logging
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from ...hyperparameters import Configured
from ...registry import Registry

NetworkKind = Literal["dense", "masked", "shrunk"]
Run = Callable[[], Tensor]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class UnsupportedError(Exception):
    """Why a runtime or a file format cannot take a network, in a sentence without a full stop."""

    @classmethod
    def because(cls, what: str, error: BaseException) -> UnsupportedError:
        """``what``, and the first line of the error that was at the bottom of ``error``."""
        while error.__cause__ is not None:
            error = error.__cause__
        first = "".join(_COLOUR.sub("", str(error)).strip().splitlines()[:1])[:200]
        return cls(f"{what}: {type(error).__name__}: {first}")


@dataclass(frozen=True)
class Runtime(Configured, ABC):
    """A way to run a network.

    Attributes:
        runs_dense: whether it is any use to a network without zeros, so that pruned networks are
            compared with the dense one in this runtime; else they are with that in ``Eager``.
        uses_zeros: whether it is the zeros of the masked network that it gains from, and not a
            smaller one.
        tolerance: by how much outputs may differ from those of ``Eager``, relative to the largest.
    """

    runs_dense: ClassVar[bool] = True
    uses_zeros: ClassVar[bool] = False
    tolerance: ClassVar[float] = 1e-3

    @abstractmethod
    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """What runs ``model``, which is in evaluation mode, on ``inputs`` and gives its output.

        Args:
            model: the network.
            inputs: a batch.
            examples: a batch of training examples, for a runtime that has to know beforehand what
                values there will be; the inputs themselves if left out.

        Raises:
            UnsupportedError: the runtime is not installed, or has no use or no support for the
                model.
        """

    def rounded(self, model: nn.Module, examples: Tensor) -> nn.Module | None:
        """The network as it computes in this runtime, for batches of any size.

        Args:
            model: the network, in evaluation mode.
            examples: a batch of training examples.

        Returns:
            None where outputs are those of ``Eager``, as they are within ``tolerance``.

        Raises:
            UnsupportedError: as :meth:`prepare`.
        """
        return None

    def forget(self) -> None:
        """Drop what is remembered of networks prepared before, which are not run again."""


RUNTIMES: Registry[Runtime] = Registry("runtime", "runtimes", Runtime, home=__name__)
register = RUNTIMES.register


@contextmanager
def quietly() -> Iterator[None]:
    """Keep off the terminal what compilers and exporters say while all goes well."""
    names = ("torch", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
