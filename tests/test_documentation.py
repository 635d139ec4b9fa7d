"""What the documentation shows is what happens."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

import prunebench
from prunebench.benchmark.catalogue.components import all_answers, methods_as_markdown
from prunebench.benchmark.catalogue.description import ENTRIES, description
from prunebench.benchmark.catalogue.shipped import SHIPPED
from prunebench.benchmark.command_line import main
from prunebench.benchmark.experiment import Experiment
from prunebench.benchmark.grid import grid, read_settings
from prunebench.datasets import DATASETS
from prunebench.hyperparameters import hyperparameters
from prunebench.metrics import METRICS, RUNTIMES, Protocol
from prunebench.models import INITIALISATIONS, MODELS
from prunebench.results import (
    COLUMNS,
    Store,
    as_text,
    columns_as_markdown,
    inference_as_text,
)
from prunebench.results.break_even import BREAK_EVEN_COLUMNS, break_even_sentences
from prunebench.results.compare import COMPARE_COLUMNS
from prunebench.results.curves import CURVE_COLUMNS
from prunebench.results.distributions import DISTRIBUTION_COLUMNS
from prunebench.results.heatmap import HEATMAP_COLUMNS
from prunebench.results.inference import INFERENCE_COLUMNS
from prunebench.results.literature import LITERATURE_COLUMNS
from prunebench.results.published_pages import pages_beside
from prunebench.results.ranking import STANDING_COLUMNS
from prunebench.results.seeds import SEED_COLUMNS
from prunebench.results.sensitivity import SENSITIVITY_COLUMNS
from prunebench.results.study import CLASS_COLUMNS, MEDIAN_COLUMNS, SCHEME_COLUMNS
from prunebench.results.suites.levels import RUN_COLUMNS
from prunebench.results.suites.score import METHOD_COLUMNS, TASK_COLUMNS
from prunebench.strategies import (
    ALLOCATIONS,
    CURVATURES,
    PENALTIES,
    RECOVERIES,
    SCHEDULES,
    STRATEGIES,
    STRUCTURES,
    TIMINGS,
)

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
FASTER = "docs/smaller-and-faster.md"
RESULTS = "\n".join(pages_beside(ROOT / "results/published").values())


def blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def commands(block: str) -> list[list[str]]:
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]


@pytest.mark.slow
def test_the_readmes_method_keeps_the_rules_and_runs_against_the_others(
    tmp_path, monkeypatch, capsys
):
    (method,) = (block for block in blocks("python") if block.startswith("# mymethod.py"))
    body = [line for line in method.splitlines() if line and not line.startswith("#")]
    assert len(body) <= 10
    monkeypatch.chdir(tmp_path)
    Path("mymethod.py").write_text(method)
    (example,) = (block for block in blocks("console") if "check mymethod" in block)
    check, run = commands(example)
    assert check[0] == run[0] == "prunebench"
    assert main(check[1:]) == 0
    assert main(run[1:]) == 0
    table = capsys.readouterr().out
    assert "\nRelativeMagnitude(epsilon=1e-06) " in table
    records = list(Store("runs").records())
    assert len(records) == 18
    assert {record.status for record in records} == {"ok"}


@pytest.mark.slow
def test_the_guides_metric_has_a_table_and_plots_of_its_own(tmp_path, monkeypatch, capsys):
    (metric,) = (block for block in blocks("python", "docs/extending.md") if "Metric" in block)
    monkeypatch.chdir(tmp_path)
    Path("mymetric.py").write_text(metric)
    command = ["run", "--dataset", "Digits", "--model", "LeNetSmall", "--strategy", "Random"]
    command += ["--compression", "2", "4", "--pretraining.epochs", "2"]
    assert main([*command, "--metrics", "mymetric.py:Misses"]) == 0
    own, misses = capsys.readouterr().out.split("\n\nLeNetSmall on Digits")
    assert "Top-1 accuracy (%)" in own
    for record in Store("runs").records():
        assert record.final["misses"] == pytest.approx(1 - record.final["top1"])
        dense = f"{100 * record.dense['misses']:.2f}"
        assert f"Missed examples (%), 1 seed; unpruned {dense}" in misses
    page = Path("runs/report.html").read_text()
    assert "Missed examples (%) by strategy and target" in page
    assert "Missed examples (%) against compression of the whole network" in page


@pytest.mark.slow
def test_the_guides_data_from_a_loader_are_learned_the_same_way_each_time(tmp_path, monkeypatch):
    (data,) = (block for block in blocks("python", "docs/extending.md") if "DataLoader" in block)
    monkeypatch.chdir(tmp_path)
    Path("mydata.py").write_text(data)
    command = [
        "run",
        "--dataset",
        "mydata.py:Mine",
        "--model",
        "LeNetSmall",
        "--strategy",
        "Random",
    ]
    command += ["--compression", "2", "--pretraining.epochs", "3", "--finetuning.epochs", "1"]
    runs = []
    for folder in ("first", "again"):
        assert main([*command, "--runs", folder]) == 0
        (record,) = Store(folder).records()
        runs.append(record)
    assert runs[0].result() == runs[1].result()
    assert runs[0].dense["top1"] > 0.8


@pytest.mark.slow
def test_the_readmes_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = (block for block in blocks("python") if "prunebench.sweep(" in block)
    exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    records = list(Store("runs").records())
    assert len(records) == 18  # compression 8 of seed 0 is in both
    (first,) = (each for each in records if printed.startswith(f"{each}\n"))
    assert f"\n{first.final['nonzero']}\n" in printed
    assert "GlobalMagnitude                 8.0" in printed


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # exporters warn of their own code
def test_the_guides_exports_are_loaded_without_prunebench(tmp_path, monkeypatch, capsys):
    """The commands, with less to train and to time, and the Python where there is no prunebench."""
    monkeypatch.chdir(tmp_path)
    quick = Protocol(repeats=3, most_repeats=3, sample_ms=1e-3)
    monkeypatch.setattr("prunebench.benchmark.commands.measure.chosen_protocol", lambda _: quick)
    (example,) = (block for block in blocks("console", FASTER) if "prunebench export" in block)
    run, measure, *exports = commands(example)
    assert main([*run[1:], "--pretraining.epochs", "2", "--finetuning.epochs", "1"]) == 0
    assert main([*measure[1:], "--batch-sizes", "1"]) == 0
    record = next(iter(Store("runs/small").records()))
    for command in exports:
        assert main([record.id if word == "RUN" else word for word in command[1:]]) == 0
    capsys.readouterr()
    (loading,) = (block for block in blocks("python", FASTER) if "torch.export.load" in block)
    code = f"import sys; sys.modules['prunebench'] = None\n{loading}\nprint('loaded all of it')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("loaded all of it\n"), done.stderr


@pytest.mark.slow
def test_the_readmes_other_commands_are_understood(tmp_path, monkeypatch, capsys, real_data):
    monkeypatch.chdir(tmp_path)
    (copying,) = (block for block in blocks("console") if "list examples" in block)
    *listing, _, file = commands(copying)[-1]
    assert main(listing[1:]) == 0
    Path(file).write_text(capsys.readouterr().out)
    for part in ("--rounds 3", "--timing", "Multi30k", "rings.py:Rings"):
        example = next(block for block in blocks("console") if part in block)
        for command in commands(example):
            assert main([*command[1:], "--dry-run"]) == 0
    assert "108 cells" in capsys.readouterr().out


def test_the_readme_shows_the_published_table():
    published = pd.read_csv(ROOT / "results/published/lenet-mnist/leaderboard.csv")
    assert as_text(published).strip() in README


SUITES = sorted((ROOT / "results/published").glob("*/methods.csv"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.parent.name)
def test_every_published_standing_is_shown_with_its_command(path):
    name = path.parent.name
    shown = RESULTS.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0]
    lines = pd.read_csv(path)
    assert all(f" {method} " in shown for method in lines["method"])
    assert re.search(rf"prunebench publish suites/(\S+/)?{name}\.yaml", RESULTS)


@pytest.mark.slow
def test_what_tuning_changes_is_told_as_the_command_tells_it(capsys, monkeypatch):
    pytest.importorskip("optuna", reason="tuning is an extra")
    command = RESULTS.partition("$ prunebench suite score ")[2].partition("```")[0]
    monkeypatch.chdir(ROOT)
    assert main(["suite", "score", *shlex.split(command.replace("\\\n", ""))]) == 0
    assert capsys.readouterr().out.partition("\n\n")[2].strip() in RESULTS


PUBLISHED = sorted(
    {*(ROOT / "results/published").glob("*/leaderboard.csv")}
    - {path.with_name("leaderboard.csv") for path in SUITES}
)


@pytest.mark.slow
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_every_published_table_is_shown_with_its_command(path):
    assert as_text(pd.read_csv(path)).strip() in RESULTS
    assert f"prunebench run experiments/{path.parent.name}.yaml" in RESULTS


INFERENCE = sorted((ROOT / "results/published").glob("*/inference.csv"))


@pytest.mark.parametrize("path", INFERENCE, ids=lambda path: path.parent.name)
def test_every_published_table_of_times_is_shown(path):
    assert inference_as_text(pd.read_csv(path)).strip() in RESULTS


BREAK_EVEN = sorted((ROOT / "results/published").glob("*/break-even.csv"))


@pytest.mark.parametrize("path", BREAK_EVEN, ids=lambda path: path.parent.name)
def test_every_published_break_even_is_stated_with_its_command(path):
    assert "\n".join(break_even_sentences(pd.read_csv(path))) in RESULTS
    assert f"-o results/published/{path.parent.name}" in RESULTS


@pytest.mark.parametrize(
    "columns",
    [
        COLUMNS,
        INFERENCE_COLUMNS,
        LITERATURE_COLUMNS,
        BREAK_EVEN_COLUMNS,
        SCHEME_COLUMNS,
        MEDIAN_COLUMNS,
        CLASS_COLUMNS,
        SENSITIVITY_COLUMNS,
        HEATMAP_COLUMNS,
        SEED_COLUMNS,
        COMPARE_COLUMNS,
        STANDING_COLUMNS,
        CURVE_COLUMNS,
        DISTRIBUTION_COLUMNS,
        METHOD_COLUMNS,
        TASK_COLUMNS,
        RUN_COLUMNS,
    ],
)
def test_the_columns_in_the_documentation_are_those_of_the_code(columns):
    assert columns_as_markdown(columns).strip() in (ROOT / "results/README.md").read_text()


EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_file_is_valid(path):
    if "transformers/" in path.read_text():
        pytest.importorskip("transformers", reason="transformers is not installed")
    experiments = grid(**read_settings(path))
    assert len({experiment.id for experiment in experiments}) == len(experiments)
    assert all(isinstance(experiment, Experiment) for experiment in experiments)


def test_the_page_of_methods_is_the_one_that_the_docstrings_give():
    assert methods_as_markdown() == (ROOT / "strategies/README.md").read_text()


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_a_strategy_documents_formula_source_use_cost_and_every_hyperparameter(name):
    factory = STRATEGIES.find(name)
    known = description(factory)
    assert set(known.entries) == set(ENTRIES)
    shared = {"allocation", "structure"}
    assert set(hyperparameters(factory)) - shared <= set(known.arguments)


@pytest.mark.parametrize(
    "registry",
    [
        ALLOCATIONS,
        STRUCTURES,
        CURVATURES,
        SCHEDULES,
        TIMINGS,
        RECOVERIES,
        PENALTIES,
        INITIALISATIONS,
        MODELS,
        DATASETS,
        METRICS,
        RUNTIMES,
    ],
    ids=lambda registry: registry.kinds,
)
def test_every_other_component_documents_its_hyperparameters(registry):
    for name in registry.names():
        known = description(registry.find(name))
        assert known.summary.endswith(".")
        given = {"minimum", *registry.given}
        assert set(hyperparameters(registry.find(name))) - given <= set(known.arguments), name


def test_a_description_has_all_lines_of_a_lone_argument_and_no_markup():
    class Documented:
        """Like :class:`~prunebench.models.LeNet5`, ``pip install`` or :meth:`score`.

        Args:
            first: ``a``
                or b.
        """

    known = description(Documented)
    assert known.summary == "Like `LeNet5`, `pip install` or `score`."
    assert known.arguments == {"first": "`a` or b."}


def test_nothing_that_is_listed_has_markup_of_docstrings():
    texts = [text for (kind, _), text in all_answers().items() if kind not in SHIPPED]
    assert not [text for text in texts if "``" in text or re.search(r":\w+:`", text)]


def test_the_experiment_on_all_strategies_names_them_all():
    settings = read_settings(ROOT / "experiments/all-strategies.yaml")
    assert settings["strategy"] == STRATEGIES.names()


def test_the_citation_is_of_this_version_and_says_what_citation_files_must():
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == prunebench.__version__
    assert citation["type"] == "software"
    assert citation["message"]
    assert citation["title"]
    for work in (citation, *citation["references"]):
        assert all("name" in each or "family-names" in each for each in work["authors"])
