"""Processes that share each batch, beside a single one that has it all."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from prunebench.benchmark.cell import distributed
from prunebench.errors import UsageError
from prunebench.results import Store

SCRIPT = Path(__file__).with_name("distributed_cell.py")
TRAINING = Path(__file__).with_name("distributed_training.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def launched(processes, *arguments):
    command = [*TORCHRUN, str(processes), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


SHARING = ("LeNetSmall", "GlobalGradientMagnitude")
GROWING = (f"{SCRIPT}:Network", "RigL")  # whose masks change in training


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """What two processes have pruned together, and in ``parts`` begun to."""
    folder = tmp_path_factory.mktemp("pruned")
    for name in ("sharing", "whole", "parts"):
        (folder / name).mkdir()
    sharing = (folder / "sharing", *SHARING, 0)
    whole, parts = (folder / "whole", *GROWING, 0), (folder / "parts", *GROWING, 26 + 23)
    launched(2, SCRIPT, *sharing, *whole, *parts)  # 26 steps an epoch
    return folder


@pytest.mark.slow
def test_processes_that_share_batches_agree_with_one_that_does_not(pruned, tmp_path):
    runpy.run_path(str(SCRIPT))["main"](tmp_path, *SHARING, 0)
    alone = torch.load(tmp_path / "0-of-1.pt")
    first, second = (torch.load(pruned / f"sharing/{number}-of-2.pt") for number in (0, 1))
    for name, mask in alone["masks"].items():
        assert torch.equal(first["masks"][name], second["masks"][name])
        # Sums in another order change the last bits, and with them few of the closest choices.
        assert (first["masks"][name] != mask).float().mean() < 0.002
    for name, tensor in alone["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        difference = (first["weights"][name] - tensor).abs()
        assert difference.median() < 1e-4, name
        assert (difference > 1e-2).float().mean() < 0.005, name


@pytest.mark.slow
def test_processes_that_are_interrupted_go_on_together_and_end_with_the_same_bits(pruned):
    whole, parts = pruned / "whole", pruned / "parts"
    assert len(list((parts / "checkpoints").rglob("fine-tuning-1.pt"))) == 1
    assert not list(parts.glob("*.pt"))
    sentence = "cannot go on in 1 process: .*fine-tuning-1.pt is the checkpoint of 2 processes; "
    with pytest.raises(UsageError, match=sentence):
        runpy.run_path(str(SCRIPT))["main"](parts, *GROWING, 0)
    launched(2, SCRIPT, parts, *GROWING, 0)
    for number in (0, 1):
        expected, found = (torch.load(each / f"{number}-of-2.pt") for each in (whole, parts))
        for kind in ("masks", "weights"):
            for name, tensor in expected[kind].items():
                assert torch.equal(found[kind][name], tensor), name


@pytest.mark.slow
def test_processes_that_have_different_numbers_of_parts_train_as_one_does(tmp_path):
    launched(2, TRAINING, tmp_path)
    runpy.run_path(str(TRAINING))["main"](tmp_path)
    alone = torch.load(tmp_path / "0-of-1.pt")
    for number in (0, 1):
        shared = torch.load(tmp_path / f"{number}-of-2.pt")
        assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        for name, tensor in alone["weights"].items():
            torch.testing.assert_close(shared["weights"][name], tensor, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_command_under_torchrun_leaves_one_record_and_one_table(tmp_path):
    settings = ["--dataset", "Digits", "--model", "LeNetSmall", "--strategy", "GlobalMagnitude"]
    settings += ["--compression", "4", "--metrics", "Accuracy", "--measurements", "Size"]
    settings += ["--pretraining.epochs", "3", "--finetuning.epochs", "2"]
    out = launched(2, "-m", "prunebench", "run", *settings, "--runs", tmp_path)
    (record,) = Store(tmp_path).records()
    assert record.status == "ok"
    assert record.final["top1"] > 0.85
    assert out.count("LeNetSmall on Digits") == 1


@pytest.fixture
def two_processes(monkeypatch):
    """The second of two processes of torchrun on a machine with one GPU; gives how they meet."""
    for name, value in {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    backends, gpus = [], []
    monkeypatch.setattr(torch.distributed, "init_process_group", backends.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", gpus.append)
    return backends, gpus


def test_processes_that_compute_on_the_cpu_take_no_gpu(two_processes):
    distributed.start()
    assert two_processes == (["gloo"], [])


def test_each_process_takes_a_gpu_where_one_is_asked_for(two_processes, monkeypatch):
    sentence = "--nproc-per-node: 2 is not allowed: each process takes a GPU, and there is 1 here"
    with pytest.raises(UsageError, match=sentence):
        distributed.start(on_gpu=True)
    assert two_processes == ([], [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    distributed.start(on_gpu=True)
    assert two_processes == (["cpu:gloo,cuda:nccl"], [1])


def test_a_process_alone_has_the_whole_batch():
    batch = (torch.arange(5), torch.arange(5))
    assert distributed.share(batch) == (batch, True)
    assert distributed.world_size() == 1
    assert distributed.agreed(True)
    assert not distributed.agreed(False)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_batch_is_divided_among_all(monkeypatch, size):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    batch = (torch.arange(size), torch.arange(size))
    seen = []
    for number in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda mine=number: mine)
        part, counts = distributed.share(batch)
        assert len(part[0]) > 0
        seen += part[0].tolist() if counts else []
    assert sorted(seen) == list(range(size))
