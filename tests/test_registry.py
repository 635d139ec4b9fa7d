"""Names of components: read, checked, written, found."""

import sys
from dataclasses import dataclass
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from prunebench import UsageError
from prunebench.registry import Configured, Registry
from prunebench.strategies import STRATEGIES


@dataclass(frozen=True)
class Shape(Configured):
    """The base of what is registered here."""


SHAPES = Registry("shape", "shapes", Shape, home="prunebench.errors")


@SHAPES.register
@dataclass(frozen=True)
class Circle(Shape):
    """Round."""

    radius: Annotated[float, Field(gt=0)] = 1.0
    name: str = "circle"
    filled: bool = False
    inner: Shape = Shape()
    sizes: Annotated[tuple[int, ...], Field(strict=False)] = ()


@given(
    radius=st.floats(1e-6, 1e6),
    name=st.text(max_size=10),
    filled=st.booleans(),
    sizes=st.lists(st.integers(), max_size=3),
)
def test_what_is_written_reads_as_the_same_component(radius, name, filled, sizes):
    made = Circle(radius=radius, name=name, filled=filled, sizes=tuple(sizes))
    component = SHAPES.component(made)
    assert component.create() == made
    assert SHAPES.component(str(component)) == component
    assert str(component) == repr(made)


def test_defaults_are_left_out_and_components_nest():
    assert str(SHAPES.component("Circle(radius=1.0)")) == "Circle"
    nested = SHAPES.component("Circle(inner=Circle(radius=2))")
    assert nested.create().inner == Circle(radius=2.0)
    assert str(nested) == "Circle(inner=Circle(radius=2.0))"
    assert repr(Circle(filled=True)) == "Circle(filled=True)"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Circel", "did you mean 'Circle'?"),
        ("circle", "did you mean 'Circle'?"),
        ("Circle(radius=0)", "radius: 0 is not allowed"),
        ("Circle(radius='1')", "radius: '1' is not allowed"),
        ("Circle(filled=1)", "filled: 1 is not allowed"),
        ("Circle(raduis=2)", "unknown option 'raduis': did you mean 'radius'?"),
        ("Circle(2)", "cannot read the shape"),
        ("Circle(**{})", "cannot read the shape"),
        ("Circle(radius=__import__('os').getpid())", "cannot read|not allowed"),
        ("Circle(radius=1+1)", "cannot read the shape"),
        ("Circle(radius=1)(radius=2)", "cannot read the shape"),
        ("Circle(radius=1).inner(radius=2)", "cannot read the shape"),
        ("Circle(radius=1, radius=2)", "cannot read the shape"),
        ("Circle(name=round)", "give a number or a text in quotes"),
        ("", "cannot read the shape"),
        ("nothing.py:Circle", "there is no file 'nothing.py'"),
        ("no.such.module:Circle", "No module named"),
        ("os.path:join", "must be a subclass of Shape"),
        ("os.path:joint", "defines no 'joint'"),
    ],
)
def test_a_name_that_cannot_be_used_is_explained(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        SHAPES.component(text)


def test_an_import_path_finds_a_class_of_an_installed_module():
    component = STRATEGIES.component("prunebench.strategies.random:Random")
    assert component.factory is STRATEGIES.component("Random").factory


def test_nothing_in_a_name_is_ever_run(tmp_path):
    marker = tmp_path / "ran"
    for text in (f"Circle(name=open({str(marker)!r}, 'w'))", f"open({str(marker)!r}, 'w')"):
        with pytest.raises(UsageError):
            SHAPES.component(text)
    assert not marker.exists()


def test_a_name_is_given_once():
    with pytest.raises(UsageError, match="two shapes are called 'Circle'"):
        SHAPES.register(type("Circle", (Shape,), {}))


FILE = """
from dataclasses import dataclass
from prunebench.registry import Configured
import sys
Base = sys.modules[{module!r}].Shape
@dataclass(frozen=True)
class Square(Base):
    '''Square.'''
    side: float = 1.0
class Careless(Base):
    '''Forgot the decorator.'''
    side: float = 1.0
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "shapes.py"
    sys.modules.setdefault("shapes_of_test_registry", sys.modules[Shape.__module__])
    path.write_text(FILE.format(module="shapes_of_test_registry"))
    return path


def test_a_class_in_a_file_is_loaded_once_and_written_with_its_path(file):
    component = SHAPES.component(f"{file}:Square(side=3)")
    assert str(component) == f"{file}:Square(side=3.0)"
    assert component.factory is SHAPES.component(f"{file}:Square").factory
    assert component.source is not None
    assert STRATEGIES.component("Random").identity == "Random"
    assert component.identity == f"Square(side=3.0)@{component.source}"


def test_a_class_that_forgot_to_be_a_dataclass_is_told_so(file):
    with pytest.raises(UsageError, match=r"write @dataclass\(frozen=True\)"):
        SHAPES.component(f"{file}:Careless")


def test_a_class_that_fails_when_it_is_made_is_reported(file):
    file.write_text(
        file.read_text() + "class Impossible(Base):\n    def __init__(self):\n        1 / 0\n"
    )
    with pytest.raises(UsageError, match="Impossible cannot be made: ZeroDivisionError"):
        SHAPES.component(f"{file}:Impossible").create()


def test_a_file_that_fails_when_it_is_imported_is_reported(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")
    with pytest.raises(UsageError, match="ZeroDivisionError"):
        SHAPES.component(f"{path}:Square")


class EntryPoint:
    def __init__(self, name, loaded):
        self.name, self.loaded, self.value = name, loaded, "plugin:Thing"

    def load(self):
        return self.loaded


def test_an_installed_plug_in_is_found_by_its_name(monkeypatch):
    plug_in = dataclass(frozen=True)(type("Star", (Shape,), {"__module__": __name__}))
    points = {"prunebench.shapes": [EntryPoint("Star", plug_in)]}
    monkeypatch.setattr("prunebench.registry.entry_points", lambda group: points.get(group, []))
    registry = Registry("shape", "shapes", Shape, home="prunebench.errors")
    try:
        assert registry.names() == ["Star"]
        assert registry.component("Star").factory is plug_in
    finally:
        Registry._all.remove(registry)


def test_a_plug_in_may_not_take_a_name_that_exists(monkeypatch):
    points = [EntryPoint("Circle", Shape)]
    monkeypatch.setattr("prunebench.registry.entry_points", lambda group: points)
    registry = Registry("shape", "shapes", Shape, home="prunebench.errors")
    registry.register(Circle)
    try:
        with pytest.raises(UsageError, match="exists already"):
            registry.component("Circle")
    finally:
        Registry._all.remove(registry)
