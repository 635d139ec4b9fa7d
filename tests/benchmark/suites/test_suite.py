"""Suites: frozen files, the same chance for all, and a table in which nothing is missing."""

import pandas as pd
import pytest
from tiny_suite import TASK, written

from prunebench import UsageError
from prunebench.benchmark.catalogue.shipped import shipped
from prunebench.benchmark.command_line import main
from prunebench.benchmark.suites.cells import Choice, cells_of, scored_tasks
from prunebench.benchmark.suites.suite import BASELINES, released, suite
from prunebench.models import MODELS
from prunebench.results import Store
from prunebench.results.suites.levels import INT8, NARROWER, levels
from prunebench.strategies import STRATEGIES


def runs_of(folder):
    found = suite(str(folder / "tiny-1.yaml"))
    return levels(scored_tasks(found), Store(folder).outcomes())


def parameters(network, task):
    network = network.replace("pretrained=True", "pretrained=False")  # which has as many
    model = MODELS.component(network).create(input_shape=task[0], classes=task[1])
    return sum(p.numel() for p in model.parameters())


SHAPES = {
    "Digits": ((1, 8, 8), 10),
    "MNIST": ((1, 28, 28), 10),
    "Multi30k(vocabulary=1000, longest=16)": ((2, 1), 1000),
    "Multi30k": ((2, 1), 4000),
    "Multi30kText": ((64,), 256),
    "CIFAR10": ((3, 32, 32), 10),
    "CIFAR100": ((3, 32, 32), 100),
    "ImageNet": ((3, 224, 224), 1000),
}


@pytest.mark.parametrize("name", shipped("suites"))
def test_a_suite_that_comes_along_is_well_formed_and_told(name, capsys):
    found = suite(name)
    assert found.name == name
    assert {*found.strategies} <= {*STRATEGIES.names()}
    cells = cells_of(found, map(Choice, found.strategies))
    points = sum(len(task.compression) for task in found.tasks.values())
    of_a_seed = points * (len(found.strategies) + 1) + len(found.tasks)
    assert len(cells) == of_a_seed * len(found.seeds)
    assert len({cell.experiment.id for cell in cells}) == len(cells)
    assert main(["suite", "show", name]) == 0
    shown = capsys.readouterr().out
    assert all(task in shown for task in found.tasks)
    assert f"cells of a method: {points * len(found.seeds)}" in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped("suites"))
def test_the_narrower_networks_are_as_small_as_pruned_ones(name):
    for task in suite(name).tasks.values():
        cell = task.cells("Random", (0,))[0]
        data = str(cell.dataset)
        shape = SHAPES.get(data) or SHAPES[data.partition("(")[0]]
        whole = parameters(str(cell.model), shape)
        for network, point in zip(task.narrower, task.compression, strict=True):
            assert point <= whole / parameters(network, shape) <= 1.3 * point, network


def test_a_released_suite_may_not_be_changed(tmp_path):
    name = next(iter(released()))
    content = shipped("suites")[name].read_text()
    (tmp_path / "same.yaml").write_text(content)
    assert suite(str(tmp_path / "same.yaml")) == suite(name)
    kind, _, version = name.rpartition("-")
    for changed in (
        content + "# a remark\n",
        content.replace("strategies:\n", "strategies:\n  - MagnitudeOfMine\n"),
        content.replace("tasks:\n", f"tasks:\n  more:{TASK}".format(
            units=20, half=9, eighth=2, mark=0.5)),
    ):  # fmt: skip
        assert changed != content
        (tmp_path / "changed.yaml").write_text(changed)
        with pytest.raises(UsageError, match=f"{name} is released and may not be changed: make "):
            suite(str(tmp_path / "changed.yaml"))
        following = changed.replace(f"name: {name}", f"name: {kind}-{int(version) + 1}")
        (tmp_path / "changed.yaml").write_text(following)
        assert suite(str(tmp_path / "changed.yaml")).name != name


def test_all_methods_and_narrower_networks_stand_in_the_table(ran, capsys):
    assert main(["suite", "score", str(ran), "--suite", str(ran / "tiny-1.yaml")]) == 0
    text = capsys.readouterr().out
    for name in ("Random", "GlobalMagnitude", "StructuredL1", NARROWER):
        assert name in text
    table = pd.read_csv(ran / "methods.csv")
    assert {*table["method"]} == {"Random", "GlobalMagnitude", "StructuredL1", NARROWER}
    for name in ("tasks.csv", "suite-runs.csv", "leaderboard.csv", "ranks.png", "report.html"):
        assert (ran / name).stat().st_size


def test_levels_are_those_of_the_records(ran):
    runs = runs_of(ran).set_index(["task", "method", "seed", "point"])
    assert len(runs) == 2 * 4 * 2 * 2 + 2 * 2  # rounded networks have one point each
    dense = {
        (each.experiment["model"], each.experiment["seed"]): each.dense["top1"]
        for each in Store(ran).outcomes()
        if each.finished
    }
    checked = 0
    for each in Store(ran).outcomes():
        settings = each.experiment
        if not each.finished or settings["compression"] == 1:
            continue
        task = {"(20,)": "small", "(40,)": "wide"}[settings["model"].split("=")[1][:-1]]
        place = task, settings["strategy"], settings["seed"], settings["compression"]
        reference = dense[settings["model"], settings["seed"]]
        if runs.loc[place, "state"] == "ok":
            level = (each.final["top1"] - 0.1) / (reference - 0.1)
            assert runs.loc[place, "level"] == pytest.approx(level)
            checked += 1
    assert checked > 8


def test_networks_of_8_bits_stand_where_pruned_ones_take_as_many_bytes(ran):
    runs, found = runs_of(ran), 0
    for each in Store(ran).outcomes():
        if "int8_bytes" not in each.final:
            continue
        ((_, run),) = runs[runs["record"] == each.id].iterrows()
        weights, found = each.final["parameters"], found + 1
        assert each.final["nonzero"] == weights
        assert weights / 8 + 4 * weights / run["point"] == pytest.approx(each.final["int8_bytes"])
        level = (each.final["int8_quality"] - 0.1) / (each.dense["top1"] - 0.1)
        assert run["method"] == INT8
        assert run["level"] == pytest.approx(level, abs=1e-9)
    assert found == 2 * 2
    table = pd.read_csv(ran / "methods.csv").set_index("method")
    assert table["against_int8"].notna().all()


def test_a_method_that_prunes_no_network_of_a_task_is_scored_beside_dense_ones_alone(ran):
    found, outcomes = suite(str(ran / "tiny-1.yaml")), list(Store(ran).outcomes())
    alone = [each for each in outcomes if not each.finished or "int8_bytes" in each.final]
    runs = levels(scored_tasks(found), alone)
    assert (runs["method"] == "StructuredL1").sum() == 4
    assert (runs.loc[runs["method"] == "StructuredL1", "level"] == 0).all()


def test_what_a_method_cannot_prune_is_a_failure_on_record(ran):
    runs = runs_of(ran)
    own = runs[
        (runs["method"] == "StructuredL1") & (runs["point"] == 8) & (runs["task"] == "small")
    ]
    assert own["state"].tolist() == ["failed", "failed"]
    assert own["level"].tolist() == [0, 0]
    failed = [each for each in Store(ran).records() if each.error is not None]
    assert all("StructuredL1 can reach at most" in each.error.message for each in failed)


def test_a_suite_goes_on_where_it_stopped_and_says_beforehand_what_is_left(ran, tmp_path, capsys):
    path, before = ran / "tiny-1.yaml", sorted(ran.glob("??/*.json"))
    command = ["suite", "run", str(path), "--strategies", "GlobalMagnitude"]
    assert main([*command, "--runs", str(ran), "--dry-run"]) == 0
    assert "28 cells, 0 to run, 0 that cannot be run" in capsys.readouterr().out
    # Beside the records of others only what is not there is run.
    command[-1] = "StructuredL1"
    beside = [*command, "--runs", str(tmp_path), "--beside", str(ran)]
    assert main([*beside, "--dry-run"]) == 0
    output = capsys.readouterr()
    assert "36 cells, 0 to run, 4 that cannot be run" in output.out
    assert "StructuredL1 counts as the worst in small at 8×" in output.err
    assert sorted(ran.glob("??/*.json")) == before


@pytest.mark.slow
def test_a_later_version_leaves_the_table_of_the_earlier_one_as_it_is(ran, tmp_path, capsys):
    command = ["suite", "score", str(ran), "--suite"]
    assert main([*command, str(ran / "tiny-1.yaml")]) == 0
    before = capsys.readouterr().out
    third = "  third:" + TASK.format(units=30, half=14, eighth=4, mark=0.5)
    later = written(tmp_path, version=2, more=third)
    run = ["suite", "run", str(later), "--strategies", "Random", "--runs", str(tmp_path)]
    assert main([*run, "--beside", str(ran)]) == 0
    assert "third" in capsys.readouterr().out
    command.insert(3, str(tmp_path))
    assert main([*command, str(ran / "tiny-1.yaml")]) == 0
    assert capsys.readouterr().out == before


def test_a_dense_network_below_the_mark_ends_the_suite(tmp_path, capsys):
    path = written(tmp_path, mark=0.9999)
    run = ["suite", "run", str(path), "--strategies", "Random", "--runs", str(tmp_path)]
    assert main(run) == 2
    assert "the suite does not go on: the dense network did not learn" in capsys.readouterr().err
    assert main(["suite", "score", str(tmp_path), "--suite", str(path)]) == 2
    assert "there is no dense network of seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("floor: 0.1", "floor: 0.1\n    flor: 0.1", "unknown option 'flor'"),
        ("compression: [2, 8]", "compression: [8, 2]", "operating points in ascending order"),
        ("compression: [2, 8]", "compression: [2]", "one network for each operating point"),
        ("least_dense_quality: 0.5\n", "rounds: 1\n", "the mark of dense networks, is missing"),
        ("Random, ", "", "Random is missing, which stands in every table"),
        ("model:", "seed: 3\n      model:", "seed is not allowed: the suite itself says it"),
        ("name: tiny-1", "name: tiny", "name"),
    ],
)
def test_a_malformed_suite_is_refused_in_a_sentence(tmp_path, old, new, sentence, capsys):
    path = written(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert main(["suite", "show", str(path)]) == 2
    assert sentence in capsys.readouterr().err


def test_an_unknown_suite_is_refused_with_those_there_are(capsys):
    assert main(["suite", "show", "mini-x"]) == 2
    assert "there is no suite 'mini-x': did you mean 'mini-1'?" in capsys.readouterr().err


def test_the_baselines_stand_beside_whatever_is_chosen(tmp_path, capsys):
    path = written(tmp_path)
    run = ["suite", "run", str(path), "--runs", str(tmp_path), "--dry-run", "--strategies"]
    assert main([*run, "SNIP"]) == 0
    cells = 2 * 2 * 2 * (len(BASELINES) + 2) + 2 * 2
    assert f"{cells} cells, {cells} to run" in capsys.readouterr().out
    assert main([*run, "all", "SNIP"]) == 2
    assert "all, or their names" in capsys.readouterr().err
