"""Whatever goes wrong: no result is lost, other cells go on, and what went wrong is named."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

import prunebench
from prunebench.benchmark.cell import pretraining
from prunebench.benchmark.cell.progress import SweepBar
from prunebench.benchmark.command_line import main
from prunebench.benchmark.sweeps.executors import WorkerProcesses
from prunebench.benchmark.sweeps.jobs import Job
from prunebench.results import Store, changes
from prunebench.results.changes import Change

QUICK = ["--dataset", "Digits", "--model", "LeNetSmall", "--pretraining.epochs", "1",
         "--finetuning.epochs", "1", "--compression", "4"]  # fmt: skip


def few(**settings):
    settings = {"dataset": "Digits", "model": "LeNetSmall", **settings}
    return prunebench.grid(
        compression=4, pretraining={"epochs": 1}, finetuning={"epochs": 1}, **settings
    )


def method(path, score, before=""):
    """A strategy in a file of its own, of which ``score`` is the body of that method."""
    path.write_text(
        f"import os, signal, sys, time\n{before}\n"
        "from prunebench.strategies import GlobalMagnitude\n"
        "class Method(GlobalMagnitude):\n"
        "    '''A user's method.'''\n"
        f"    def score(self, context):\n        {score}\n"
        "        return super().score(context)\n"
    )
    return f"{path}:Method"


@pytest.mark.slow
def test_a_forced_run_that_fails_says_so_and_leaves_the_finished_record(tmp_path, capsys):
    marker, runs = tmp_path / "broken", tmp_path / "runs"
    strategy = method(tmp_path / "flaky.py", f"assert not os.path.exists({str(marker)!r})")
    arguments = ["run", *QUICK, "--strategy", strategy, "--runs", str(runs)]
    assert main(arguments) == 0
    ((path,),) = [list(runs.glob("??/*.json"))]
    before = path.read_bytes()
    marker.touch()
    capsys.readouterr()
    assert main([*arguments, "--force"]) == 1
    assert "AssertionError" in (said := capsys.readouterr().err)
    assert "its finished record stays" in said
    assert path.read_bytes() == before
    assert list(runs.glob("??/*.json")) == [path]
    assert main(arguments) == 0


@pytest.mark.slow
def test_a_worker_that_dies_or_hangs_after_it_has_saved_loses_nothing(tmp_path, hours):
    """It is killed, or runs out of time, between the record and the news of it."""
    hang = f"open({str(hours)!r}, 'w').write('.'); time.sleep(3600)"
    for name, end in (("killed", "os.kill(os.getpid(), 9)"), ("late", hang)):
        strategy = method(
            tmp_path / f"{name}.py",
            "pass",
            "from prunebench.results import Store\n"
            "save = Store.add\n"
            "def save_and_end(*arguments):\n"
            "    save(*arguments)\n"
            f"    {end}\n"
            "import multiprocessing\n"
            "if multiprocessing.parent_process() is not None:\n"
            "    Store.add = save_and_end\n",
        )
        (made,) = few(strategy=strategy)
        jobs = [Job(made, tmp_path / "runs", tmp_path, weights=True)]
        bar = SweepBar(cells=1, finished=0, epochs=1, hidden=True)
        assert len(list(WorkerProcesses(1, timeout=1800).run(jobs, bar))) == 1
        assert Store(tmp_path / "runs").is_finished(made.id), name


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_code_that_ends_the_process_fails_its_own_cell_by_name(tmp_path, workers):
    ends = {"sys.exit()": "SystemExit", "raise KeyError": "KeyError", "os._exit(0)": "exit code 0"}
    if workers == 1:
        del ends["os._exit(0)"]  # which nothing in its own process can outlive
    strategies = [method(tmp_path / f"{n}.py", end) for n, end in enumerate(ends)]
    experiments = few(strategy=[*strategies, "Random"])
    records = prunebench.sweep(experiments, runs=tmp_path / "runs", workers=workers, progress=False)
    assert [record.status for record in records] == ["failed"] * len(ends) + ["ok"]
    for record, expected in zip(records, ends.values(), strict=False):
        assert expected in f"{record.error.type}: {record.error.message}"


def test_a_file_that_ends_the_process_as_it_is_imported_gets_a_sentence(tmp_path, capsys):
    strategy = method(tmp_path / "ending.py", "pass", "sys.exit()")
    for command in (["run", *QUICK, "--strategy", strategy], ["check", strategy]):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "ending.py failed with SystemExit" in said
        assert said.count("\n") == 1


def test_a_score_that_ends_the_process_is_a_finding_of_the_check(tmp_path, capsys):
    assert main(["check", method(tmp_path / "ending.py", "sys.exit()")]) == 1
    assert "raises SystemExit" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "raised",
    [
        "raise ValueError('bytes of a path: \\udcff')",
        "raise type('Silent', (Exception,), {'__str__': lambda self: 1 / 0})()",
        "raise type('Mute', (Exception,), {'__str__': lambda self: None})()",
    ],
)
def test_a_failure_that_cannot_be_written_as_it_is_becomes_a_record_too(tmp_path, raised):
    experiments = few(strategy=[method(tmp_path / "odd.py", raised), "Random"])
    records = prunebench.sweep(experiments, runs=tmp_path / "runs", progress=False)
    assert [record.status for record in records] == ["failed", "ok"]
    assert records[0].error.message
    assert Store(tmp_path / "runs").load(experiments[0].id) == records[0]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode elsewhere")
def test_a_method_in_a_folder_whose_name_is_no_text_has_a_record(tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(folder)  # noqa: PTH102
    (made,) = few(strategy=method(tmp_path / folder / "mine.py", "pass"))
    assert prunebench.run(made, runs=tmp_path / "runs").status == "ok"


PLUG_INS = {
    "data set": (
        {"dataset": "{path}:Data"},
        "from prunebench.datasets import Digits\n"
        "class Data(Digits):\n"
        "    '''Cannot be loaded.'''\n"
        "    def load(self, folder): raise LookupError('no such table')\n",
    ),
    "removable": (
        {"strategy": "{path}:Method"},
        "from prunebench.strategies import GlobalMagnitude\n"
        "class Method(GlobalMagnitude):\n"
        "    '''Cannot say what it prunes.'''\n"
        "    def removable(self, model, prunable): sys.exit('no such table')\n",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", PLUG_INS)
def test_a_plug_in_that_fails_before_anything_runs_fails_its_cells_only(tmp_path, capsys, which):
    settings, source = PLUG_INS[which]
    path = tmp_path / "plugin.py"
    path.write_text(f"import sys\n{source}")
    runs = tmp_path / "runs"
    ((name, value),) = settings.items()
    command = ["run", *QUICK, "--strategy", "Random", "--runs", str(runs)]
    usual = {"dataset": "Digits", "model": "LeNetSmall", "strategy": "Random"}
    command += [f"--{name}", value.format(path=path), usual[name]]
    assert main([*command, "--dry-run"]) == 1
    assert "will fail: " in capsys.readouterr().err
    assert not runs.exists()
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("failed: ") == 1
    assert sorted(record.status for record in Store(runs).records()) == ["failed", "ok"]


@pytest.mark.slow
def test_a_damaged_record_is_named_and_set_aside_and_its_cell_run_again(tmp_path, capsys):
    runs = tmp_path / "runs"
    command = ["run", *QUICK, "--strategy", "Random", "GlobalMagnitude", "--runs", str(runs)]
    assert main(command) == 0
    store = Store(runs)
    before = {record.id: record.result() for record in store.records()}
    damaged = store.record_path(next(iter(before)))
    half = damaged.read_bytes()[:1000]
    damaged.write_bytes(half)
    capsys.readouterr()
    assert main([*command, "--dry-run"]) == 0
    assert "1 finished, 1 to run" in capsys.readouterr().out
    assert main(command) == 0
    assert f"{damaged} is damaged: it is kept under another name" in capsys.readouterr().err
    assert {record.id: record.result() for record in store.records()} == before
    (aside,) = runs.glob("??/*damaged*")
    assert aside.read_bytes() == half


@pytest.mark.slow
def test_a_record_of_a_later_version_is_not_touched(tmp_path):
    (made,) = few(strategy="Random")
    prunebench.run(made, runs=tmp_path)
    path = Store(tmp_path).record_path(made.id)
    content = json.loads(path.read_bytes())
    for change in ({"schema_version": 2}, {"what_comes_later": 1}):
        path.write_text(json.dumps(content | change))
        with pytest.raises(prunebench.UsageError, match=path.name):
            prunebench.run(made, runs=tmp_path)
        assert path.exists()


@pytest.mark.slow
def test_what_was_run_is_printed_and_all_of_the_folder_is_written(tmp_path, capsys):
    command = ["run", *QUICK, "--runs", str(tmp_path), "--strategy"]
    assert main([*command, "Random"]) == 0
    capsys.readouterr()
    assert main([*command, "GlobalMagnitude"]) == 0
    assert "Random" not in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "leaderboard.csv")
    assert list(frame["strategy"]) == ["GlobalMagnitude", "Random"]
    assert ">Random<" in (tmp_path / "report.html").read_text()
    next(tmp_path.glob("??/*.json")).write_text("{")
    other = tmp_path / "aa" / ("a" * 16 + ".json")
    other.parent.mkdir(exist_ok=True)
    other.write_text("{")
    assert main([*command, "LayerMagnitude"]) == 0
    assert f"left out of the leaderboard: {other}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_without_a_finite_result_ends_well_without_plots(tmp_path, capsys):
    path = tmp_path / "metric.py"
    path.write_text(
        "from prunebench.datasets import Digits\n"
        "from prunebench.metrics import Metric, METRICS\n"
        "@METRICS.register\n"
        "class Nothing(Metric):\n"
        "    '''Is never a number.'''\n"
        "    definitions = {'nothing': 'not a number'}\n"
        "    quality = {'nothing': 'higher'}\n"
        "    def measure(self, subject): return {'nothing': float('nan')}\n"
        "class Data(Digits):\n"
        "    '''Cannot be scored.'''\n"
        "    def load(self, folder):\n"
        "        task = super().load(folder)\n"
        "        task.quality = 'Nothing'\n"
        "        return task\n"
    )
    command = ["run", *QUICK, "--runs", str(tmp_path / "runs"), "--strategy", "Random"]
    assert main([*command, "--dataset", f"{path}:Data"]) == 0
    output = capsys.readouterr()
    assert "no plots: there is nothing to plot" in output.err
    assert "leaderboard:" in output.out
    assert (tmp_path / "runs" / "report.html").exists()


def test_a_symbolic_link_within_the_folder_is_refused_before_anything_runs(tmp_path):
    (made,) = few(strategy="Random")
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "disk").mkdir()
    runs.symlink_to(tmp_path / "disk")  # the folder itself may be anywhere
    folder = Store(runs).record_path(made.id).parent
    folder.symlink_to(elsewhere)
    with pytest.raises(prunebench.UsageError, match="is a symbolic link"):
        prunebench.run(made, runs=runs)
    folder.unlink()
    folder.mkdir()
    Store(runs).record_path(made.id).symlink_to(elsewhere / "record.json")
    with pytest.raises(prunebench.UsageError, match="is a symbolic link"):
        prunebench.run(made, runs=runs)
    assert not list(elsewhere.iterdir())
    assert not (runs / "pretrained").exists()
    Store(runs).record_path(made.id).unlink()
    assert prunebench.run(made, runs=runs).status == "ok"


@pytest.mark.slow
def test_workers_that_cannot_be_started_end_the_sweep_with_a_sentence(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from prunebench import grid, sweep\n"
        "sweep(grid(dataset='Digits', model='LeNetSmall', strategy='Random', compression=2),\n"
        f"      runs={str(tmp_path / 'runs')!r}, workers=2, progress=False)\n"
    )
    done = subprocess.run(
        [sys.executable, script], check=False, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 1
    assert "no worker process can be started" in done.stderr.splitlines()[-1]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def turned(content: bytes) -> bytes:
    """The last bit but a few of the middle byte is another one."""
    middle = len(content) * 3 // 4
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, turned, lambda content: b""])
@pytest.mark.parametrize("kind", [".safetensors", ".json", "-epoch-1.safetensors"])
def test_a_damaged_file_of_the_dense_network_is_named_and_made_anew(tmp_path, capsys, damage, kind):
    (made,) = few(strategy="Random", recovery="Rewind(epoch=1)")
    expected = prunebench.run(made, runs=tmp_path)
    path = tmp_path / "pretrained" / f"{made.pretraining_id}{kind}"
    before = path.read_bytes()
    path.write_bytes(damage(before))
    again = prunebench.run(made, runs=tmp_path, force=True)
    assert again.result() == expected.result()
    assert capsys.readouterr().err.count(f"{path} is damaged") == 1
    if kind != ".json":  # it has the seconds that the training took
        assert path.read_bytes() == before
    prunebench.run(made, runs=tmp_path, force=True)
    assert "damaged" not in capsys.readouterr().err


@pytest.mark.slow
def test_files_of_the_dense_network_that_have_no_digest_yet_are_used(tmp_path, capsys):
    (made,) = few(strategy="Random")
    expected = prunebench.run(made, runs=tmp_path)
    for path in (tmp_path / "pretrained").glob("*.sha256"):
        path.unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "pretrained").iterdir()}
    assert prunebench.run(made, runs=tmp_path, force=True).result() == expected.result()
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_dense_network_of_before_a_change_that_moved_it_is_trained_anew(
    tmp_path, capsys, monkeypatch
):
    made, other = few(strategy="Random")[0], few(strategy="Random", seed=5)[0]
    for each in (made, other):
        prunebench.run(each, runs=tmp_path)
    moved = Change("seeds are drawn anew", lambda _: True, lambda settings: settings["seed"] == 5)
    for module in (changes, pretraining):
        monkeypatch.setattr(module, "CHANGES", (*changes.CHANGES, moved))
    times = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "pretrained").glob("*.*")
        if path.suffix != ".lock"
    }
    for _ in range(2):  # the network that was trained anew is used then
        for each in (made, other):
            prunebench.run(each, runs=tmp_path, force=True)
    said = capsys.readouterr().err
    assert said.count("is trained anew: seeds are drawn anew") == 1
    for path, time in times.items():
        is_other = path.name.startswith(other.pretraining_id)
        kept = path.exists() and path.stat().st_mtime_ns == time
        assert kept != is_other, path


def test_a_sweep_clears_away_what_killed_processes_have_left(tmp_path):
    (made,) = few(strategy="Random")
    prunebench.run(made, runs=tmp_path)
    temporary = Store(tmp_path).record_path(made.id).with_name(f".{made.id}.json.{'a' * 32}~")
    temporary.write_text("half a rec")
    os.utime(temporary, (1, 1))
    checkpoint = tmp_path / "checkpoints" / made.id / "fine-tuning-1.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("the record was saved, and then the process was killed")
    others = tmp_path / "checkpoints" / "somebody-elses" / "fine-tuning-1.pt"
    others.parent.mkdir()
    others.touch()
    prunebench.run(made, runs=tmp_path)
    assert not temporary.exists()
    assert not checkpoint.parent.exists()
    assert others.exists()
