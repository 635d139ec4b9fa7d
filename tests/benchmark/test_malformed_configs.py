"""Whatever is wrong with a configuration, the answer is one sentence and exit status 2."""

import contextlib
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from prunebench.benchmark.command_line import main

GOOD = {
    "dataset": "Digits",
    "model": "LeNetSmall",
    "strategy": "Random",
    "compression": 4,
    "rounds": 2,
    "seed": 0,
    "pretraining": {"epochs": 2},
    "finetuning": {"epochs": 1},
}

names = st.text("abcdefghijklmnopqrstuvwxyzABC_", min_size=1, max_size=12)
junk = st.one_of(names, st.none(), st.booleans(), names.map(lambda name: {name: 1}), st.just([]))
not_positive = st.integers(-5, 0)
not_finite = st.sampled_from([float("nan"), float("inf"), -float("inf")])
numbers_out_of_range = {
    "compression": st.one_of(st.floats(-10, 0.99), not_finite, st.floats(500, 1e9)),
    "rounds": st.one_of(not_positive, st.floats(1.1, 1.9)),
    "seed": st.integers(-5, -1),
    "threads": not_positive,
}
recipe_errors = st.one_of(
    # No epochs at all are allowed of pretraining.
    st.fixed_dictionaries({"epochs": st.one_of(st.integers(-5, -1), junk)}),
    st.fixed_dictionaries({"batch_size": st.one_of(not_positive, junk)}),
    st.fixed_dictionaries({"learning_rate": st.one_of(st.floats(-1, 0), not_finite, junk)}),
    st.fixed_dictionaries({"momentum": st.one_of(st.floats(1, 2), junk)}),
    st.fixed_dictionaries({"optimizer": st.one_of(junk, st.integers())}),
    names.map(lambda name: {"x" + name: 1}),
    names,
    st.integers(),
)
component_errors = st.one_of(
    names.map(lambda name: "No" + name),
    names.map(lambda name: f"{name}.py:Thing"),
    names.map(lambda name: f"no{name}.module:Thing"),
    st.sampled_from(
        [
            "",
            "(",
            "Random(",
            "Random(1)",
            "Random(x=1)",
            "Random()()",
            "__import__('os')",
            "a b",
            ":",
            "Random(allocation=Filters())",
            "Random(allocation=2)",
            "Digits(test=0)",
            "os:path",
            ".py:X",
        ]
    ),
    junk,
    st.integers(),
)


@st.composite
def malformed(draw):
    """A good configuration with one thing wrong in it."""
    config = dict(GOOD)
    kind = draw(st.sampled_from(["component", "number", "recipe", "unknown", "missing", "targets"]))
    if kind == "component":
        config[draw(st.sampled_from(["dataset", "model", "strategy", "schedule", "recovery"]))] = (
            draw(component_errors)
        )
    elif kind == "number":
        name = draw(st.sampled_from(sorted(numbers_out_of_range)))
        config[name] = draw(st.one_of(numbers_out_of_range[name], junk.filter(bool), st.just([])))
    elif kind == "recipe":
        config[draw(st.sampled_from(["pretraining", "finetuning"]))] = draw(recipe_errors)
    elif kind == "unknown":
        config["x" + draw(names)] = draw(st.one_of(junk, st.integers()))
    elif kind == "missing":
        del config[draw(st.sampled_from(["dataset", "model", "strategy", "compression"]))]
    else:
        config["sparsity"] = draw(st.one_of(st.floats(0, 0.9), st.floats(1, 2), junk.filter(bool)))
    return config


def complaint(config: Path, folder: Path) -> str:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        assert main(["run", str(config), "--runs", str(folder / "runs")]) == 2
    assert not (folder / "runs").exists()
    return said.getvalue()


def is_a_sentence(said: str) -> bool:
    return said.startswith("prunebench: ") and said.count("\n") == 1 and "Traceback" not in said


@pytest.mark.slow
@settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
@given(config=malformed())
def test_200_malformed_configurations_get_one_sentence_each(config):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "config.yaml"
        with path.open("w") as file:
            YAML(typ="safe").dump(config, file)
        assert is_a_sentence(complaint(path, Path(name))), config


@settings(max_examples=60, derandomize=True)
@given(text=st.one_of(st.text(max_size=80), st.sampled_from(["- a", "3", "a: [", "a: b: c", "{"])))
def test_a_file_that_is_no_configuration_gets_one_sentence(text):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "config.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        assert is_a_sentence(complaint(path, Path(name))), text


def test_files_that_cannot_be_read_get_one_sentence(tmp_path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("dataset: Zürich".encode("latin-1"))
    for path in (tmp_path / "missing.yaml", tmp_path, latin):
        assert is_a_sentence(complaint(path, tmp_path))
