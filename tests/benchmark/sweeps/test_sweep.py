"""Sweeps: the same records however they are run, and nothing lost whatever dies."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import prunebench
from prunebench.benchmark.sweeps.executors import ThisProcess
from prunebench.results import Store

GATE = """
import time
from pathlib import Path
from prunebench.strategies import GlobalMagnitude
class Gate(GlobalMagnitude):
    '''Waits until there is a file named open beside this one.'''
    def score(self, context):
        while not Path(__file__).with_name("open").exists():
            time.sleep(0.05)
        return super().score(context)
"""


def few(**settings):
    defaults = {"dataset": "Digits", "model": "LeNetSmall", "compression": 4}
    defaults |= {"pretraining": {"epochs": 2}, "finetuning": {"epochs": 1}}
    return prunebench.grid(**{**defaults, "measurements": ["Size"], **settings})


def results(records):
    return [record.result() for record in records]


@pytest.mark.slow
def test_a_cell_gives_the_same_record_alone_in_a_sweep_and_on_two_workers(tmp_path):
    strategies = ["Random", "GlobalMagnitude", "GlobalGradientMagnitude", "StructuredL1"]
    experiments = few(strategy=strategies, rounds=2)
    parallel = prunebench.sweep(experiments, runs=tmp_path / "two", workers=2, progress=False)
    serial = prunebench.sweep(experiments, runs=tmp_path / "one", progress=False)
    alone = prunebench.run(experiments[2], runs=tmp_path / "alone")
    assert {record.status for record in parallel} == {"ok"}
    assert results(parallel) == results(serial)
    assert alone.result() == serial[2].result()


LARGER_DIGITS = """
from dataclasses import dataclass
from torch.nn.functional import interpolate
from prunebench.datasets import Classification, Dataset, Digits

@dataclass(frozen=True)
class LargerDigits(Dataset):
    "Those of scikit-learn, as large as those of MNIST."

    def load(self, folder):
        digits, splits = Digits().load(folder), {}
        for split in ("train", "validation", "test"):
            ((images, labels),) = digits.batches(split, 10_000)
            splits[split] = (255 * interpolate(images.sigmoid(), 28)).byte(), labels
        return Classification(splits, classes=10)
"""


@pytest.mark.slow
def test_a_dropout_network_gives_the_same_record_twice(tmp_path):
    (tmp_path / "larger.py").write_text(LARGER_DIGITS)
    (made,) = few(
        dataset=f"{tmp_path / 'larger.py'}:LargerDigits",
        model="LeNetDropout",
        strategy="Random",
    )
    records = [prunebench.run(made, runs=tmp_path / name) for name in "ab"]
    assert records[0].error is None
    assert records[0].result() == records[1].result()


@pytest.mark.slow
def test_a_finished_cell_is_not_run_again_unless_forced(tmp_path):
    (made,) = few(strategy="Random")
    prunebench.run(made, runs=tmp_path)
    path = Store(tmp_path).record_path(made.id)
    before = path.stat().st_mtime_ns
    prunebench.run(made, runs=tmp_path)
    assert path.stat().st_mtime_ns == before
    prunebench.run(made, runs=tmp_path, force=True)
    assert path.stat().st_mtime_ns > before


@pytest.mark.slow
def test_the_dense_network_is_trained_once_for_all_cells_that_share_it(tmp_path):
    experiments = few(strategy=["Random", "GlobalMagnitude"], seed=[0, 1])
    records = prunebench.sweep(experiments, runs=tmp_path, workers=2, progress=False)
    assert len(list((tmp_path / "pretrained").glob("????????????????.json"))) == 2
    seconds = {(r.experiment["seed"], r.timings["pretraining_seconds"]) for r in records}
    assert len(seconds) == 2


@pytest.mark.slow
def test_an_experiment_listed_twice_is_run_once_and_returned_twice(tmp_path):
    (made,) = few(strategy="Random")
    first, second = prunebench.sweep([made, made], runs=tmp_path, progress=False)
    assert first == second
    assert len(list(Store(tmp_path).records())) == 1


def test_a_file_in_the_place_of_the_records_is_refused(tmp_path):
    path = tmp_path / "runs"
    path.touch()
    with pytest.raises(prunebench.UsageError, match="which is a file"):
        prunebench.sweep(few(strategy="Random"), runs=path)


@pytest.mark.parametrize(
    ("option", "value"),
    [("workers", 2), ("timeout", 60.0), ("memory_limit", 10**9), ("stack", 2)],
)
def test_what_an_executor_says_itself_cannot_be_said_beside_it(tmp_path, option, value):
    settings = {"executor": ThisProcess(), option: value}
    with pytest.raises(prunebench.UsageError, match=f"^{option}: .*: ThisProcess says itself"):
        prunebench.sweep(few(strategy="Random"), runs=tmp_path / "runs", **settings)
    assert not list(tmp_path.iterdir())


def test_a_record_that_cannot_be_saved_ends_the_sweep(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("prunebench.results.store.write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        prunebench.sweep(few(strategy="Random"), runs=tmp_path, progress=False)
    assert not list(tmp_path.glob("??/*.json"))


DYING = """
import os, signal
from prunebench.strategies import GlobalMagnitude
class Dying(GlobalMagnitude):
    '''Kills the process that runs it.'''
    def score(self, context):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_worker_that_is_killed_fails_its_own_cell_only_and_the_record_says_why(tmp_path):
    path = tmp_path / "dying.py"
    path.write_text(DYING)
    experiments = few(strategy=["Random", f"{path}:Dying", "GlobalMagnitude", "LayerMagnitude"])
    records = prunebench.sweep(experiments, runs=tmp_path / "runs", workers=2, progress=False)
    assert [record.status for record in records] == ["ok", "failed", "ok", "ok"]
    assert "SIGKILL" in records[1].error.message


def test_a_failed_cell_is_tried_again(tmp_path):
    marker = tmp_path / "mended"
    path = tmp_path / "flaky.py"
    path.write_text(
        "from pathlib import Path\n"
        "from prunebench.strategies import GlobalMagnitude\n"
        "class Flaky(GlobalMagnitude):\n"
        "    '''Works once it is mended.'''\n"
        "    def score(self, context):\n"
        f"        assert Path({str(marker)!r}).exists()\n"
        "        return super().score(context)\n"
    )
    (made,) = few(strategy=f"{path}:Flaky")
    assert prunebench.run(made, runs=tmp_path / "runs").status == "failed"
    marker.touch()
    assert prunebench.run(made, runs=tmp_path / "runs").status == "ok"


@pytest.fixture
def started(tmp_path):
    """Start the command on cells of which the last do not end, in a session of its own."""
    (tmp_path / "gate.py").write_text(GATE)
    started = []

    def start(*options):
        command = ["run", "--dataset", "Digits", "--model", "LeNetSmall", "--measurements", "Size",
                   "--strategy", "Random", "gate.py:Gate", "--compression", "2", "4", "8",
                   "--pretraining.epochs", "1", "--finetuning.epochs", "1"]  # fmt: skip
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "prunebench", *command, "--runs", "runs", *options],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                # A shell's background job, such as these tests may be, is born deaf to SIGINT.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        )
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until(holds, what):
    """Long enough for any machine, and no longer than it takes."""
    deadline = time.monotonic() + 600
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def finished_in(runs):
    return {path: path.stat().st_mtime_ns for path in runs.glob("[0-9a-f][0-9a-f]/*.json")}


def processes_of(group: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == group and fields[0] != "Z":  # its session
            found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_killing_the_whole_sweep_at_any_moment_loses_and_repeats_no_finished_cell(
    tmp_path, started
):
    runs, sweep = tmp_path / "runs", started("--workers", "2")
    # Killed once some cells are finished and others are being worked on, at no particular point.
    wait_until(lambda: len(finished_in(runs)) >= 2 or sweep.poll() is not None, "never got going")
    finished = finished_in(runs)
    time.sleep(random.random() / 4)
    sweep.send_signal(signal.SIGKILL)
    assert sweep.wait() == -signal.SIGKILL
    wait_until(lambda: not processes_of(sweep.pid), "workers outlived the sweep")
    survivors = finished_in(runs)
    assert set(finished) <= set(survivors)
    for path in survivors:
        json.loads(path.read_bytes())  # no half record

    (tmp_path / "open").touch()
    made = few(
        strategy=["Random", f"{tmp_path / 'gate.py'}:Gate"],
        compression=[2, 4, 8],
        pretraining={"epochs": 1},
    )
    prunebench.sweep(made, runs=runs, workers=2, progress=False)
    assert {path: path.stat().st_mtime_ns for path in survivors} == survivors
    records = list(Store(runs).records())
    assert sorted(record.id for record in records) == sorted(each.id for each in made)
    assert {record.status for record in records} == {"ok"}
    for path in runs.rglob("*"):
        assert (
            path.is_dir()
            or path.suffix in {".json", ".safetensors", ".lock", ".sha256", ".part"}
            or (
                path.name.endswith("~")  # what a process was writing when it was killed
            )
        )


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize("how", ["--workers 1", "--workers 2", "--executor ray --workers 2"])
def test_ctrl_c_keeps_every_finished_cell_and_says_how_to_go_on(tmp_path, started, how):
    if "ray" in how:
        pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    run = started(*how.split())
    # Those of Random come first; what comes then does not end.
    wait_until(
        lambda: len(finished_in(tmp_path / "runs")) == 3 or run.poll() is not None,
        "never got going",
    )
    assert run.poll() is None
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=600)
    assert run.returncode == 130, said
    assert len(list(Store(tmp_path / "runs").records())) == 3
    assert "3 of 6 cells are finished and kept in runs" in said
    assert "give the same command again" in said
    assert "Traceback" not in said
    # Helper processes of Python and of Ray end later.
    wait_until(lambda: not processes_of(run.pid), "workers outlived the sweep")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_python_drops_is_heard_after_the_cell(tmp_path):
    path = tmp_path / "interrupting.py"
    path.write_text(
        "import os, signal\n"
        "from prunebench.strategies import GlobalMagnitude\n"
        "class Ending:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "class Interrupting(GlobalMagnitude):\n"
        "    '''Is interrupted where no exception can be raised.'''\n"
        "    def score(self, context):\n"
        "        Ending()\n"
        "        return super().score(context)\n"
    )
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        prunebench.sweep(
            few(strategy=[f"{path}:Interrupting", "Random"]), runs=tmp_path / "runs", progress=False
        )
    (record,) = Store(tmp_path / "runs").records()
    assert record.status == "ok"
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_that_a_library_makes_an_error_of_is_no_failure_of_the_cell(tmp_path):
    path = tmp_path / "answering.py"
    path.write_text(
        "import os, signal\n"
        "from prunebench.strategies import GlobalMagnitude\n"
        "class Answering(GlobalMagnitude):\n"
        "    '''Has an error of its own for Ctrl-C.'''\n"
        "    def score(self, context):\n"
        "        try:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "        except KeyboardInterrupt:\n"
        "            raise SystemError('a call returned with an exception set') from None\n"
    )
    with pytest.raises(KeyboardInterrupt):
        prunebench.sweep(
            few(strategy=[f"{path}:Answering"]), runs=tmp_path / "runs", progress=False
        )
    assert list(Store(tmp_path / "runs").records()) == []


def test_a_network_of_normalised_weights_is_refused_before_anything_is_trained(
    experiment, tmp_path
):
    file = tmp_path / "normalised.py"
    file.write_text(
        "from torch import nn\n"
        "from torch.nn.utils.parametrizations import weight_norm\n\n"
        "class Normalised(nn.Sequential):\n"
        "    def __init__(self, input_shape, classes):\n"
        "        super().__init__(nn.Flatten(), weight_norm(nn.Linear(64, 9)), nn.Linear(9, 10))\n"
    )
    with pytest.raises(prunebench.UsageError, match="weight of the Linear '1' is not prunable"):
        prunebench.sweep(
            [experiment(model=f"{file}:Normalised")], runs=tmp_path / "runs", progress=False
        )
    assert not (tmp_path / "runs").exists()
