"""The command line as a person uses it."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from prunebench.benchmark.command_line import COMMANDS, main
from prunebench.results import Store

QUICK = ["--dataset", "Digits", "--model", "LeNetSmall", "--pretraining.epochs", "2",
         "--finetuning.epochs", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The records of a small comparison, run from flags alone."""
    folder = tmp_path_factory.mktemp("comparison") / "runs"
    status = main(
        [
            "run",
            *QUICK,
            "--strategy",
            "Random",
            "GlobalMagnitude",
            "--compression",
            "2",
            "8",
            "--seed",
            "0",
            "1",
            "--rounds",
            "2",
            "--runs",
            str(folder),
        ]
    )
    assert status == 0
    return folder


def test_a_comparison_leaves_two_tables_two_plots_a_report_and_its_records(runs):
    frame = pd.read_csv(runs / "leaderboard.csv")
    assert list(frame["strategy"]) == ["GlobalMagnitude"] * 2 + ["Random"] * 2
    assert set(frame["seeds"]) == {2}
    assert set(frame["rounds"]) == {2}
    for name in ("quality-vs-compression.png", "quality-vs-speedup.png"):
        assert (runs / name).read_bytes().startswith(b"\x89PNG")
    assert "LeNetSmall on Digits" in (runs / "report.html").read_text()
    assert len(list(runs.glob("??/*.json"))) == 8
    seeds = pd.read_csv(runs / "seeds.csv", dtype={"id": str})
    assert {each.removeprefix("sha256:") for each in seeds["id"]} == set(Store(runs).ids())
    means = seeds.groupby(["strategy", "target_compression"])["top1"].mean()
    assert means.tolist() == pytest.approx(frame["top1_mean"].tolist(), rel=1e-5)


@pytest.mark.slow
def test_the_table_is_printed_with_the_files_that_were_written(runs, capsys):
    arguments = ["run", *QUICK, "--strategy", "Random", "GlobalMagnitude", "--compression", "2",
                 "8", "--seed", "0", "1", "--rounds", "2", "--runs", str(runs)]  # fmt: skip
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert "8/8" in output.err
    files = [str(runs / name) for name in ("leaderboard.csv", "seeds.csv", "report.html")]
    for text in ("GlobalMagnitude", "Random", "2×", "8×", *files):
        assert text in output.out


def test_a_dry_run_shows_the_grid_and_what_is_finished_and_runs_nothing(runs, capsys):
    before = sorted(runs.rglob("*"))
    assert main(["run", *QUICK, "--strategy", "Random", "--compression", "2", "4", "--seed", "0",
                 "--rounds", "2", "--runs", str(runs), "--dry-run"]) == 0  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert "finished" in lines[0]
    assert "to run" in lines[1]
    assert lines[-1] == "2 cells, 1 finished, 1 to run"
    assert sorted(runs.rglob("*")) == before


def test_flags_take_the_place_of_what_the_file_says(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(
        "dataset: Digits\nmodel: LeNetSmall\nstrategy: [Random, GlobalMagnitude]\n"
        "sparsity: 0.5\npretraining: {epochs: 2, learning_rate: 1e-3}\n"
    )
    flags = ["--strategy", "LayerMagnitude", "--compression", "3", "--pretraining.epochs", "4"]
    assert main(["run", str(config), *flags, "--dry-run", "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "LayerMagnitude at 3×" in out
    assert "1 cell, 0 finished" in out


def test_the_leaderboard_command_rebuilds_the_csv_from_the_records(runs, tmp_path, capsys):
    path = tmp_path / "again.csv"
    assert main(["leaderboard", str(runs), "-o", str(path), "--plots", str(tmp_path)]) == 0
    assert path.read_bytes() == (runs / "leaderboard.csv").read_bytes()
    assert (tmp_path / "quality-vs-compression.png").exists()
    assert "GlobalMagnitude" in capsys.readouterr().out


def test_the_leaderboard_command_rebuilds_the_report_from_the_records(runs, tmp_path, capsys):
    path = tmp_path / "new" / "report.html"
    assert main(["leaderboard", str(runs), "--report", str(path)]) == 0
    assert path.read_bytes() == (runs / "report.html").read_bytes()
    assert str(path) in capsys.readouterr().out


def test_one_record_is_shown_by_the_beginning_of_its_id(runs, capsys):
    path = next(runs.glob("??/*.json"))
    assert main(["show", path.stem[:12], "--runs", str(runs)]) == 0
    shown = capsys.readouterr().out
    assert path.stem in shown
    assert "linear1.weight" in shown
    assert main(["show", str(path), "--json", "--runs", str(runs)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(path.read_bytes())


@pytest.mark.parametrize(
    ("drops", "cells"),
    [(["0.5", "0.75"], 1), (["0.5"], 1), (["[0.5, 0.75]"], 1), (["[0.5]", "[0.5, 0.75]"], 2)],
)
def test_values_of_a_setting_that_is_a_list_are_one_list_and_lists_a_grid(
    drops, cells, tmp_path, capsys
):
    flags = ["--strategy", "Random", "--compression", "2", "--finetuning.learning-rate-schedule"]
    arguments = ["run", *QUICK, *flags, "step", "--finetuning.learning-rate-drops", *drops]
    assert main([*arguments, "--dry-run", "--runs", str(tmp_path)]) == 0
    assert f"{cells} cell" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("strategies", "GlobalGradientMagnitude("),
        ("models", "LeNetDropout("),
        ("datasets", "FashionMNIST(validation: int = 5000, scaling: "),
        ("metrics", "Latency(batch_sizes: tuple[int, ...] = (1, 256)"),
        ("schedules", "Geometric"),
        ("recoveries", "Rewind(epoch: int = 0)"),
    ],
)
def test_each_kind_of_component_is_listed_with_its_hyperparameters(kind, expected, capsys):
    assert main(["list", kind]) == 0
    assert expected in capsys.readouterr().out


def test_one_strategy_is_described_in_detail(capsys):
    assert main(["list", "strategies", "GlobalGradientMagnitude"]) == 0
    out = capsys.readouterr().out
    assert "Blalock" in out
    assert "batches: int = 8" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", *QUICK, "--strategy", "GlobalMagnitud", "--compression", "2"],
         "unknown strategy 'GlobalMagnitud': did you mean 'GlobalMagnitude'?"),
        (["run", *QUICK, "--strategy", "Random", "--compression", "0.5"], "compression: 0.5"),
        (["run", *QUICK, "--strategy", "Random", "--compression", "two"], "compression: 'two'"),
        (["run", *QUICK, "--strategy", "Random"], "exactly one of compression, sparsity,"),
        (["run", *QUICK, "--retries", "3"], "--retries needs --executor ray"),
        (["run", *QUICK, "--executor", "ray", "--memory-limit", "4GB"], "Ray watches memory"),
        (["run", *QUICK, "--executor", "ray", "--cpus-per-cell", "1.5"], "whole number, or a"),
        (["run", *QUICK, "--executor", "ray", "--address", "a:1", "--workers", "2"],
         "--workers: 2 is not allowed with --address"),
        (["run", *QUICK, "--strategy", "Random", "--compression", "2", "--workers", "0"], "'0'"),
        (["run", *QUICK, "--strategy", "none.py:Mine", "--compression", "2"], "no file 'none.py'"),
        (["run", "--strategy", "Random", "--compression", "2"], "dataset is missing"),
        (["run", *QUICK, "--compression", "2"], "see `prunebench list strategies`"),
        (["run", "missing.yaml"], "cannot read the configuration missing.yaml"),
        (["run", "--dataset", "Digits", "--model", "LeNet5", "--strategy", "Random",
          "--compression", "2", "--dry-run"], "LeNet5 needs images of at least 16×16"),
        (["run", *QUICK, "--strategy", "Random", "--compression", "2", "--timeout", "-1"], "-1"),
        (["leaderboard", "nowhere"], "nowhere"),
        (["show", "abc", "--runs", "nowhere"], "nowhere"),
        (["list", "strategy"], "did you mean 'strategies'?"),
        (["list", "models", "LeNet6"], "did you mean"),
        (["check", "Nothing"], "unknown strategy 'Nothing'"),
        (["frobnicate"], "frobnicate"),
        ([], "command"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_sentence_and_exit_status_2(arguments, sentence, capsys, monkeypatch,
                                                       tmp_path):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_failed_cell_gives_exit_status_1_and_is_named(tmp_path, capsys):
    path = tmp_path / "broken.py"
    path.write_text(
        "from prunebench.strategies import ScoredStrategy\n"
        "class Broken(ScoredStrategy):\n    '''Breaks.'''\n"
        "    def score(self, context):\n        1 / 0\n"
    )
    arguments = ["run", *QUICK, "--strategy", f"{path}:Broken", "Random", "--compression", "2",
                 "--runs", str(tmp_path / "runs")]  # fmt: skip
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert "ZeroDivisionError" in output.err
    assert "Random" in output.out


def test_missing_data_without_a_network_are_explained_in_one_sentence(
    tmp_path, capsys, monkeypatch
):
    def unreachable(*arguments, **keywords):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    status = main(["run", "--dataset", "MNIST", "--model", "LeNet5", "--strategy", "Random",
                   "--compression", "2", "--data", str(tmp_path / "data"),
                   "--runs", str(tmp_path / "runs")])  # fmt: skip
    assert status == 2
    said = capsys.readouterr().err
    assert "connect to the internet" in said
    assert "PRUNEBENCH_DATA" in said
    assert not (tmp_path / "runs").exists()


def test_every_command_has_help_and_none_imports_torch_for_it():
    code = (
        "import sys\n"
        "from prunebench.benchmark.command_line import COMMANDS, main\n"
        "for arguments in [[], *([name] for name in COMMANDS)]:\n"
        "    try:\n"
        "        main([*arguments, '--help'])\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.count("usage: prunebench") == 1 + len(COMMANDS)


@pytest.mark.slow
def test_the_leaderboard_of_records_does_not_import_torch(runs):
    record = next(runs.glob("??/*.json")).stem
    code = (
        "import sys\n"
        "from prunebench.benchmark.command_line import main\n"
        f"assert main(['leaderboard', {str(runs)!r}]) == 0\n"
        f"assert main(['show', {record!r}, '--runs', {str(runs)!r}]) == 0\n"
        "import prunebench\n"
        f"assert len(prunebench.leaderboard({str(runs)!r})) == 4\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_the_module_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "prunebench", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("prunebench 0.")


@pytest.mark.slow
def test_a_strategy_is_checked_on_the_models_that_are_named(capsys):
    assert main(["check", "LayerMagnitude", "--model", "ResNetSmall", "Perceptron"]) == 0
    assert "keeps 14 of 14 rules" in capsys.readouterr().out
    assert main(["check", "BatchNormSlimming", "--model", "Perceptron"]) == 1
    assert "leave no weights in Perceptron" in capsys.readouterr().out
    assert main(["check", "Random", "--model", "Perceptrn"]) == 2
    assert "Perceptron" in capsys.readouterr().err


def test_the_page_of_methods_is_printed(capsys):
    assert main(["list", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# Pruning methods")


@pytest.mark.slow
def test_without_flops_and_latency_there_is_what_was_measured_and_a_sentence(tmp_path, capsys):
    runs = tmp_path / "runs"
    command = [
        "run",
        *QUICK,
        "--strategy",
        "Random",
        "--compression",
        "2",
        "4",
        "--runs",
        str(runs),
    ]
    assert main([*command, "--measurements", "Size", "Storage"]) == 0
    output = capsys.readouterr()
    assert "no plot against theoretical speedup: no run has measured it" in output.err
    assert (runs / "quality-vs-compression.png").exists()
    assert not (runs / "quality-vs-speedup.png").exists()
    table = pd.read_csv(runs / "leaderboard.csv")
    assert (
        table[["flops", "theoretical_speedup_mean", "latency_batch1_dense_ms"]]
        .isna()
        .all(axis=None)
    )
    assert table[["compression_mean", "file_bytes"]].notna().all(axis=None)
    page = (runs / "report.html").read_text()
    assert "Compression<br>achieved" in page
    assert "Theoretical<br>speedup" not in page
    assert "Measured,<br>batch" not in page
    assert "multiply–adds</dd>" not in page
    assert (
        main(["measure", str(runs), "--runtimes", "Eager", "--batch-sizes", "1", "--repeats", "3"])
        == 0
    )
    output = capsys.readouterr()
    assert "no plot: there is nothing to draw times against" in output.err
