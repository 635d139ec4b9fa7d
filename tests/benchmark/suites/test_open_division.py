"""The open division: recipes of methods' own, on the data and networks of the suite."""

import pytest
from tiny_suite import written

from prunebench import UsageError
from prunebench.benchmark.command_line import main
from prunebench.benchmark.suites.cells import Cell, Choice, cells_of_choice, refusals
from prunebench.benchmark.suites.recipe import read_recipe
from prunebench.benchmark.suites.suite import suite

RECIPE = """\
strategy: GlobalMagnitude
settings: {rounds: 2, finetuning: {epochs: 3}}
tasks:
  wide: {recovery: RewindLearningRate}
"""


@pytest.fixture
def found(tmp_path):
    return suite(str(written(tmp_path)))


def recipe_of(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    return tmp_path / "mine.yaml"


def test_a_recipe_changes_what_it_says_and_nothing_else(found, tmp_path):
    recipe = read_recipe(recipe_of(tmp_path, RECIPE), found)
    usual = cells_of_choice(found, Choice("GlobalMagnitude"), found.seeds)
    own = cells_of_choice(found, Choice("GlobalMagnitude", recipe=recipe), found.seeds)
    for one, two in zip(usual, own, strict=True):
        assert (one.task, one.experiment.pretraining_id) == (
            two.task,
            two.experiment.pretraining_id,
        )
        assert two.experiment.rounds == 2
        assert two.experiment.finetuning.epochs == 3
        assert two.experiment.finetuning.learning_rate == one.experiment.finetuning.learning_rate
        recovery = "RewindLearningRate" if two.task == "wide" else "FineTune"
        assert str(two.experiment.recovery).startswith(recovery)


def test_a_recipe_is_told_in_the_table(found, tmp_path):
    recipe = read_recipe(recipe_of(tmp_path, RECIPE), found)
    assert str(Choice("GlobalMagnitude", recipe=recipe)) == (
        "GlobalMagnitude · rounds 2 · finetuning.epochs 3 · wide: recovery RewindLearningRate"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("strategy: SNIP\nsettings: {seed: 1}", "seed is not allowed: the suite itself says it"),
        ("strategy: SNIP\ntasks: {wide: {model: LeNet5}}", "model is not allowed"),
        ("strategy: SNIP\ntasks: {wider: {rounds: 2}}", "no task 'wider': did you mean 'wide'?"),
        ("strategy: SNIP\nsetting: {}", "unknown option 'setting'"),
        ("settings: {}", "strategy"),
    ],
)
def test_a_recipe_that_is_none_is_refused_in_a_sentence(found, tmp_path, text, sentence):
    with pytest.raises(UsageError) as caught:
        read_recipe(recipe_of(tmp_path, text), found)
    assert sentence in str(caught.value)


@pytest.mark.slow
def test_recipes_are_ranked_apart_and_scored_again_from_their_records(tmp_path, capsys):
    path, recipe = written(tmp_path), recipe_of(tmp_path, RECIPE)
    options = ["--division", "open", "--strategies", str(recipe)]
    assert main(["suite", "run", str(path), "--runs", str(tmp_path / "runs"), *options]) == 0
    table = capsys.readouterr().out
    assert "tiny-1 · open division" in table
    assert "GlobalMagnitude · rounds 2 · finetuning.epochs 3" in table
    score = ["suite", "score", str(tmp_path / "runs"), "--suite", str(path)]
    assert main([*score, *options]) == 0
    assert table.startswith(capsys.readouterr().out.rstrip("\n"))
    assert main([*score]) == 0
    assert "rounds 2" not in capsys.readouterr().out
    assert main([*score, "--division", "open"]) == 2
    assert "give the recipes of the open division" in capsys.readouterr().err
    assert main([*score, "--division", "default", "open", "--strategies", str(recipe)]) == 2


def test_what_one_recipe_cannot_prune_is_no_fault_of_another(experiment, tmp_path):
    settings = {"strategy": "SNIP", "compression": 8.0}
    sparing = experiment(**settings, prune_except=("conv*", "linear1*"))
    cells = [Cell("digits", "SNIP", each) for each in (sparing, experiment(**settings))]
    for order in (cells, cells[::-1]):
        assert [each.cell.experiment for each in refusals(order, tmp_path)] == [sparing]
