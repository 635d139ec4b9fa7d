"""How hyperparameters are written for people."""

from enum import Enum
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from pydantic import Field

from prunebench.hyperparameters import Parameter, hyperparameters
from prunebench.strategies import SNIP


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (float | None, "float | None"),
        (Union[int, str], "int | str"),  # noqa: UP007 # as users of older Python write it
        (Optional[Literal["a", 2]], "'a' | 2 | None"),  # noqa: UP045
        (Colour | int, "'red' | 'blue' | int"),
        (tuple[int, ...], "tuple[int, ...]"),
        (dict[str, Any] | None, "dict[str, Any] | None"),
        (Annotated[int, Field(ge=1)] | None, "int | None"),
    ],
)
def test_a_type_hint_is_written_as_in_todays_python(hint, text):
    assert str(Parameter("x", hint, None)) == f"x: {text} = None"


def test_the_fields_of_a_strategy_are_its_hyperparameters():
    assert str(hyperparameters(SNIP)["batches"]) == "batches: int = 1"
