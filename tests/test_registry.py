"""Names of components: read, checked, written, found."""

import re
import sys
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, IntEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from prunebench import UsageError
from prunebench.datasets import DATASETS
from prunebench.hyperparameters import Configured
from prunebench.models import MODELS
from prunebench.notation import without_paths
from prunebench.registry import Registry
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
        ("os.path:join", "is a function: name a class that derives from .*Shape"),
        ("os.path:joint", "defines no 'joint'"),
    ],
)
def test_a_name_that_cannot_be_used_is_explained(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        SHAPES.component(text)


OWN = """
from torch import nn
from torch.utils.data import DataLoader, Dataset
class Mine(Dataset):
    pass
class Net(nn.Module):
    pass
net, loader, other = Net(), DataLoader([1]), nn.Linear(1, 1)
def make_net():
    return Net()
"""


@pytest.mark.parametrize(
    ("registry", "name", "complaint"),
    [
        (
            DATASETS,
            ":Mine",
            "derives from torch's Dataset, and must be a subclass of prunebench.dat",
        ),
        (DATASETS, ":Mine", "prunebench.datasets.Dataset (see `prunebench list examples own_model"),
        (DATASETS, ":loader", "is an instance of DataLoader: name a class that derives from prune"),
        (MODELS, ":net", "is an instance of Net: name the class, {file}:Net"),
        (MODELS, ":other", "is an instance of Linear: name a class that derives from torch's Modu"),
        (MODELS, ":make_net", "is a function: name a class that derives from torch's Module (see"),
        (MODELS, ":Mine", "must be a subclass of torch's Module (see `prunebench list examples"),
        (MODELS, ":Nett", "defines no 'Nett': did you mean 'Net'?"),
        (MODELS, "", "is a file: name the class in it: {file}:Net"),
        (STRATEGIES, "", "is a file that defines no subclass of Strategy"),
    ],
)
def test_what_a_file_has_in_place_of_a_component_is_told(registry, name, complaint, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    with pytest.raises(UsageError, match=re.escape(complaint.format(file=file))):
        registry.component(f"{file}{name}")


def test_the_case_of_letters_does_not_matter():
    assert SHAPES.component("circle(radius=2)") == SHAPES.component("Circle(radius=2)")
    assert str(SHAPES.component("CIRCLE")) == "Circle"


@SHAPES.register
@dataclass(frozen=True)
class Frame(Shape):
    """Holds others."""

    only: Shape | None = None
    all: list[Shape] = field(default_factory=list)
    some: tuple[Shape, ...] = ()
    named: dict[str, Shape] = field(default_factory=dict)
    title: str = ""


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Frame(only=Circle(radius=2.0))", Frame(only=Circle(radius=2.0))),
        ("Frame(only=None)", Frame()),
        ("Frame(all=[Circle, Frame(only=Circle)])", Frame(all=[Circle(), Frame(only=Circle())])),
        ("Frame(some=(Circle(filled=True),))", Frame(some=(Circle(filled=True),))),
        ("Frame(named={'a:b': Circle})", Frame(named={"a:b": Circle()})),
        ("Frame(only='circle(radius=3)')", Frame(only=Circle(radius=3.0))),
        ("Frame(title='Circle(radius=3)')", Frame(title="Circle(radius=3)")),
    ],
)
def test_components_may_be_optional_or_in_lists_and_mappings(text, made):
    component = SHAPES.component(text)
    assert component.create() == made
    assert SHAPES.component(str(component)) == component == SHAPES.component(made)


@SHAPES.register
@dataclass(frozen=True)
class Pattern(Shape):
    """Has values of several kinds."""

    weights: tuple[float, ...] = ()
    pair: tuple[int, str] | None = None
    names: frozenset[str] = frozenset()
    loose: set[str] = field(default_factory=set)


def test_a_list_is_taken_for_a_tuple():
    made = SHAPES.component("Pattern(weights=[1.0, 2.0], pair=[1, 'b'])")
    assert made.create() == Pattern(weights=(1.0, 2.0), pair=(1, "b"))
    assert SHAPES.component(str(made)) == made


def test_a_set_is_written_in_one_order_and_read_again():
    letters = "zyxwvutsrqponmlkjihgfedcba"
    made = SHAPES.component(Pattern(names=frozenset(letters), loose=set(letters)))
    inner = ", ".join(map(repr, sorted(letters)))
    assert str(made) == f"Pattern(names={{{inner}}}, loose={{{inner}}})"
    assert SHAPES.component(str(made)) == made
    assert made.create() == Pattern(names=frozenset(letters), loose=set(letters))


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


@SHAPES.register
@dataclass(frozen=True)
class Drawing(Shape):
    """Has values that have no notation of their own."""

    colour: Colour = Colour.RED
    size: Size | None = None
    palette: tuple[Colour, ...] = ()
    file: Path | None = None
    when: datetime | None = None


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (Drawing(), "Drawing"),
        (Drawing(colour=Colour.BLUE), "Drawing(colour='blue')"),
        (Drawing(size=Size.LARGE), "Drawing(size=2)"),
        (Drawing(palette=(Colour.BLUE, Colour.RED)), "Drawing(palette=('blue', 'red'))"),
        (Drawing(file=Path("a/b c.txt")), "Drawing(file='a/b c.txt')"),
    ],
)
def test_an_enum_is_written_as_its_value_and_a_path_as_a_text(made, text):
    component = SHAPES.component(made)
    assert str(component) == repr(made) == text
    assert SHAPES.component(text) == component
    assert SHAPES.component(text).create() == made


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ("Drawing(colour='green')", "colour: 'green' is not allowed: input should be 'red' or"),
        ("Drawing(file=3)", "file: 3 is not allowed: input is not a valid path"),
        (
            Drawing(when=datetime(2026, 1, 1)),
            "when: datetime.date...6, 1, 1, 0, 0) cannot be written",
        ),
    ],
)
def test_what_cannot_be_read_from_a_record_is_refused(shape, complaint):
    with pytest.raises(UsageError, match=re.escape(f"shape Drawing: {complaint}")):
        SHAPES.component(shape)


def test_a_built_in_component_counts_by_its_text():
    text = "GlobalMagnitude(allocation=Global(minimum=1))"
    assert STRATEGIES.component(text).identity == str(STRATEGIES.component(text)) == text


def test_an_import_path_finds_a_class_of_an_installed_module():
    component = STRATEGIES.component("prunebench.strategies.scores.random:Random")
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
from prunebench.hyperparameters import Configured
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
    # Equal contents are one module, that of the first path.
    path.write_text(FILE.format(module="shapes_of_test_registry") + f"# {tmp_path}\n")
    return path


def test_a_class_in_a_file_is_loaded_once_and_written_with_its_path(file):
    component = SHAPES.component(f"{file}:Square(side=3)")
    assert str(component) == f"{file}:Square(side=3.0)"
    assert component.factory is SHAPES.component(f"{file}:Square").factory
    assert component.source is not None
    assert STRATEGIES.component("Random").identity == "Random"
    assert component.identity == f"Square(side=3.0)@{component.source}"


def test_a_class_in_a_file_keeps_its_path_and_digest_within_another(file):
    square = SHAPES.component(f"{file}:Square(side=3)")
    for text in (f"Frame(only={file}:Square(side=3))", f"Frame(only='{file}:Square(side=3)')"):
        nested = SHAPES.component(text)
        assert str(nested) == f"Frame(only={file}:Square(side=3.0))"
        assert nested.identity.startswith(f"Frame(only=Square(side=3.0)@{square.source})")
        assert dict(nested.parts("shape")) == {"shape": nested, "shape.only": square}
    made = SHAPES.component(Frame(all=[Frame(only=square.create())]))
    assert str(made) == f"Frame(all=[Frame(only={file}:Square(side=3.0))])"
    assert [place for place, _ in made.parts("s")] == ["s", "s.all.Frame", "s.all.Frame.only"]
    assert SHAPES.component(str(made)) == made
    assert without_paths(str(made)) == "Frame(all=[Frame(only=Square(side=3.0))])"


def test_a_path_with_spaces_is_written_in_quotes_within_another(file, tmp_path):
    spaced = file.rename(tmp_path / "my shapes.py")
    made = SHAPES.component(Frame(only=SHAPES.component(f"{spaced}:Square").create()))
    assert str(made) == f"Frame(only='{spaced}:Square')"
    assert SHAPES.component(str(made)) == made


def test_an_edited_file_within_another_component_is_another_component(file):
    text = f"Frame(some=({file}:Square,))"
    before = SHAPES.component(text).identity
    file.write_text(file.read_text() + "# edited\n")
    assert SHAPES.component(text).identity != before


def test_a_class_that_a_file_registers_is_known_by_its_path(file):
    file.write_text(file.read_text() + "Base = sys.modules['shapes_of_test_registry']\n"
                    "Base.SHAPES.register(Square)\n")  # fmt: skip
    square = SHAPES.component(f"{file}:Square(side=2)").create()
    try:
        assert str(SHAPES.component(square)) == f"{file}:Square(side=2.0)"
        assert str(SHAPES.component("Square(side=2)")) == f"{file}:Square(side=2.0)"
    finally:
        del SHAPES._classes["Square"]


def test_a_class_that_forgot_to_be_a_dataclass_is_told_so(file):
    with pytest.raises(UsageError, match=r"write @dataclass\(frozen=True\)"):
        SHAPES.component(f"{file}:Careless")


def test_a_class_that_fails_when_it_is_made_is_reported(file):
    file.write_text(
        file.read_text() + "class Impossible(Base):\n    def __init__(self):\n        1 / 0\n"
    )
    with pytest.raises(UsageError, match="Impossible cannot be made: ZeroDivisionError"):
        SHAPES.component(f"{file}:Impossible").create()


def test_a_file_that_imports_from_its_package_is_to_be_named_by_its_import_path(tmp_path):
    (tmp_path / "mine.py").write_text("from .beside import something\n")
    with pytest.raises(UsageError, match=r"name it by its import path, as package\.module:Name$"):
        STRATEGIES.component(f"{tmp_path}/mine.py:Mine")


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


def test_a_plug_in_that_cannot_be_loaded_is_named(monkeypatch):
    points = [metadata.EntryPoint("Star", "prunebench.errors:Missing", "prunebench.shapes")]
    monkeypatch.setattr("prunebench.registry.entry_points", lambda group: points)
    registry = Registry("shape", "shapes", Shape, home="prunebench.errors")
    try:
        with pytest.raises(UsageError, match=r"prunebench.errors:Missing.*shape 'Star'.*Attribute"):
            registry.component("Star")
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
