"""Input that is made to hang or crash: one sentence each, and soon."""

from importlib import import_module

import pytest

from prunebench import UsageError
from prunebench.benchmark.command_line import main
from prunebench.benchmark.grid import MOST_CELLS, grid
from prunebench.registry import Registry
from prunebench.strategies import STRATEGIES

BASE = {"dataset": "Digits", "model": "LeNetSmall", "strategy": "Random", "compression": "4"}


def flags(**changed: str) -> list[str]:
    settings = {**BASE, **changed}
    return [text for name, value in settings.items() for text in (f"--{name}", *value.split(" "))]


def complaint(capsys, arguments: list[str]) -> str:
    assert main(arguments) == 2
    said = capsys.readouterr().err.splitlines(keepends=True)[-1]  # after a progress bar, if any
    assert said.startswith("prunebench: ")
    assert said.endswith("\n")
    assert "Traceback" not in said
    assert len(said) < 2_000
    return said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 3_000, "nested too deeply"),
        ("[" * 3_000 + "]" * 3_000, "nested too deeply"),
        ("dataset: " + "{a: " * 3_000 + "1" + "}" * 3_000, "nested too deeply"),
        ("- " * 3_000, "nested too deeply"),
        ("seed: " + "9" * 5_000, "a number or date in it cannot be read"),
        ("seed: 0x" + "f" * 5_000, "seed: a number of thousands of digits is not allowed"),
        ("seed: 2026-99-99", "a number or date in it cannot be read"),
        ("seed: !!int many", "a number or date in it cannot be read"),
        ("recovery: &x [*x]", "recovery"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n"
                for a, b in zip("abcdefghi", "bcdefghij", strict=True)
            ),
            "cells",
        ),
        ("strategy: '" + " " * 30_000 + "'", "cannot read the strategy"),
    ],
)
def test_a_hostile_file_gets_one_sentence(tmp_path, capsys, text, sentence):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    said = complaint(capsys, ["run", str(path), *flags(), "--dry-run"] if "strategy" not in text
                     else ["run", str(path), *flags()[:4], "--compression", "2"])  # fmt: skip
    assert sentence in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"seed": "9" * 5_000}, "seed"),
        ({"seed": str(2**63)}, "seed"),
        ({"threads": "5000"}, "threads: 5000 is not allowed"),
        ({"threads": "9" * 400}, "threads"),
        ({"rounds": "[" * 3_000}, "rounds"),
        ({"compression": "9" * 5_000}, "compression"),
        ({"strategy": "x" * 30_000}, "unknown strategy"),
        ({"strategy": "Random(" * 3_000}, "cannot read the strategy"),
        ({"strategy": "Random(x=" + "(" * 3_000 + ")" * 3_000 + ")"}, "cannot read"),
        ({"strategy": "Random(x=" + "-" * 100_000 + "1)"}, "cannot read"),
        ({"strategy": "Random(x=" + "9" * 5_000 + ")"}, "cannot read"),
        ({"workers": "9" * 5_000}, "--workers"),
    ],
)
def test_a_hostile_value_gets_one_sentence(capsys, changed, sentence):
    assert sentence in complaint(capsys, ["run", *flags(**changed), "--dry-run"])


@pytest.mark.parametrize("text", [" " * 30_000, "a" + " " * 30_000 + "b)", "(" * 30_000])
def test_a_name_is_read_in_the_time_that_its_length_takes(text):
    with pytest.raises(UsageError, match="cannot read the strategy") as refused:
        STRATEGIES.component(text)
    assert len(str(refused.value)) < 200


def test_a_name_between_blanks_is_read():
    assert str(STRATEGIES.component(" \n SNIP \t (batches = 4 ) \n")) == "SNIP(batches=4)"


def test_a_grid_that_is_too_large_is_counted_and_not_made(monkeypatch):
    monkeypatch.setattr(
        "prunebench.benchmark.grid._experiment", lambda _: pytest.fail("a cell was made")
    )
    axes = {**BASE, "seed": list(range(10_000)), "sparsity": [n / 10_000 for n in range(10_000)]}
    with pytest.raises(UsageError) as refused:
        grid(**axes)
    for text in ("100,000,000 cells", "10,000 of seed × 10,000 of sparsity", f"{MOST_CELLS:,}"):
        assert text in str(refused.value)


@pytest.mark.parametrize("count", ["1025", "5000", "1" * 30])
def test_more_threads_than_torch_bears_are_refused(capsys, count):
    said = complaint(capsys, ["break-even", "--linear", "8", "8", "--threads", count])
    assert "--threads" in said


@pytest.mark.parametrize("size", [10**9, 10**14])
def test_a_batch_that_no_memory_holds_is_refused_before_anything_is_timed(
    capsys, monkeypatch, size
):
    module = import_module("prunebench.metrics.inference")
    monkeypatch.setattr(module, "interleaved", lambda *_, **__: pytest.fail("it was timed"))
    arguments = ["break-even", "--linear", "1000", "1000", "--batch-sizes", "1", str(size)]
    said = complaint(capsys, [*arguments, "--runtimes", "Eager"])
    assert f"--batch-sizes: {size} is not allowed: a forward pass would need about" in said


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (
            ["--lr", "0.1"],
            "did you mean --pretraining.learning-rate or --finetuning.learning-rate?",
        ),
        (["--learning_rate=0.1"], "--pretraining.learning-rate or --finetuning.learning-rate?"),
        (["--finetuning.lr", "0.1"], "'--finetuning.lr'; did you mean --finetuning.learning-rate?"),
        (["--pretraining.foo", "1"], "unrecognized arguments: '--pretraining.foo'; see"),
        (["--epochs", "3"], "did you mean --pretraining.epochs or --finetuning.epochs?"),
        (["--worker-s", "2"], "did you mean --workers?"),
        (
            ["--learning-rat", "1"],
            "did you mean --pretraining.learning-rate or --finetuning.learning-rate?",
        ),
        (["--xyzzy"], "--xyzzy'; see 'prunebench run --help'"),
    ],
)
def test_an_option_of_other_programs_is_answered_with_ours(capsys, arguments, hint):
    assert hint in complaint(capsys, ["run", *flags(), *arguments])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("l1_unstructured", "did you mean 'GlobalMagnitude' or 'LayerMagnitude'?"),
        ("L1Unstructured", "did you mean 'GlobalMagnitude' or 'LayerMagnitude'?"),
        ("ln_structured", "did you mean 'StructuredL1' or 'StructuredL2' or 'StructuredLInf'?"),
        ("random_unstructured", "did you mean 'LayerRandom' or 'Random'?"),
        ("random_structured", "did you mean 'StructuredRandom'?"),
        ("global_unstructured", "did you mean 'GlobalMagnitude'?"),
        ("GlobalMagnitud", "did you mean 'GlobalMagnitude'?"),
    ],
)
def test_a_strategy_of_other_libraries_is_answered_with_ours(name, hint):
    with pytest.raises(UsageError) as refused:
        STRATEGIES.component(name)
    assert hint in str(refused.value)


def test_what_names_elsewhere_stand_for_exists():
    for registry in Registry._all:
        for names in registry._elsewhere.values():
            assert set(names) <= set(registry.names())


def test_a_model_of_another_library_is_answered_with_its_name_there(capsys):
    pytest.importorskip("timm")
    said = complaint(capsys, ["run", *flags(model="resnet50")])
    assert "did you mean 'torchvision/resnet50' or 'timm/resnet50'?" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runn"], "invalid choice: 'runn': did you mean 'run'? (allowed: break-even, check, "),
        (["breakeven"], "did you mean 'break-even'?"),
        (["suite", "lst"], "did you mean 'list'?"),
        (["run", *flags(dataset="cifar-10")], "did you mean 'CIFAR10'?"),
        (["run", *flags(dataset="mnst")], "did you mean 'MNIST'?"),
        (["list", "SNIP"], "did you mean 'prunebench list strategies SNIP'?"),
        (["list", "--prune-only", "foo"], "--prune-except need --model and --dataset"),
        (["list", "models", "--model", "LeNet5"], "models is not allowed beside --model"),
        (["find", "--loss-at-most", "nan"], "'nan' is not allowed: give a number from 0 on"),
        (["rank", "--diagram", "a.jpg"], "give a name that ends with .png, .pdf or .svg"),
        (["publish", "nope.yaml", "--check"], "there is no nope.yaml: give a YAML file of"),
        (
            ["verify", "x", "--cells", "-1"],
            "'-1' is not allowed: give a whole number of at least 0",
        ),
        (["run", *flags(), "--workers", "1.5"], "give a whole number of at least 1"),
    ],
)
def test_what_a_command_cannot_take_is_refused_by_name(capsys, arguments, sentence):
    assert sentence in complaint(capsys, arguments)
