"""Devices: what is chosen, what is moved, and what is said where there is none."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import prunebench
from prunebench.benchmark.cell.loop import load_task
from prunebench.benchmark.cell.pretraining import build
from prunebench.benchmark.cell.rounds import copies
from prunebench.benchmark.cell.training import copy_of_state
from prunebench.benchmark.experiment import Experiment
from prunebench.benchmark.grid import grid
from prunebench.errors import UsageError

NOWHERE = torch.device("meta")  # it takes tensors, and everybody has it


def test_auto_is_the_best_there_is(experiment, monkeypatch):
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=cuda: found)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda found=mps: found)
        assert experiment(device="auto").device == expected


def test_the_device_is_a_part_of_the_identity_but_for_the_cpu(experiment):
    plain, gpu = experiment(), experiment(device="cuda")
    assert experiment(device="cpu").id == plain.id != gpu.id
    assert gpu.pretraining_id != plain.pretraining_id
    assert gpu.comparison != plain.comparison


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused_before_anything_runs(experiment, tmp_path):
    with pytest.raises(UsageError, match="device: 'cuda' is not allowed: there is none here"):
        prunebench.run(experiment(device="cuda"), runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_device_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="device"):
        grid(dataset="Digits", model="LeNetSmall", strategy="Random", compression=2.0, device="tpu")


def test_all_that_a_task_gives_is_on_its_device(digits, reversal):
    for task in (digits, reversal):
        moved = task.to(NOWHERE)
        assert moved.device == NOWHERE
        assert task.device == torch.device("cpu")
        assert moved.inputs(3).device == NOWHERE
        for batches in (
            moved.batches("train", 32),
            moved.batches("test", 32, torch.Generator()),
            moved.training_batches(32, torch.Generator()),
        ):
            assert {tensor.device for tensor in next(iter(batches))} == {NOWHERE}
        assert task.inputs(3).device == torch.device("cpu")
    places, tokens = next(reversal.to(NOWHERE).sources("test", 5))
    assert (len(places), tokens.device) == (5, NOWHERE)


def test_copies_of_weights_take_no_room_on_the_device(experiment, digits):
    class Copying(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            if function is torch.ops.aten._to_copy.default:
                return torch.zeros(arguments[0].shape, device=named["device"])
            return function(*arguments, **(named or {}))

    model = build(experiment(), digits.to(NOWHERE))
    with Copying():
        states = copy_of_state(model), copies(model, dict(model.named_parameters()))
    copied = [tensor for state in states for tensor in state.values()]
    assert {each.device for each in copied} == {torch.device("cpu")}


@pytest.mark.parametrize("padding", [0, 2])
def test_images_are_gathered_by_an_order_that_is_where_they_are(digits, padding):
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            if function is torch.ops.aten.index.Tensor:
                places.update(index.device for index in arguments[1])
            return function(*arguments, **(named or {}))

    task, places = copy.copy(digits), set()
    task._crop_padding = padding
    with Watch():
        list(task.to(NOWHERE).training_batches(512, torch.Generator()))
    assert places == {NOWHERE}


def test_a_task_of_the_users_own_is_moved_batch_by_batch(digits):
    class Own(type(digits)):
        to = prunebench.datasets.Task.to

    task = Own.__new__(Own)
    vars(task).update(vars(digits))
    moved = task.to(NOWHERE)
    assert next(iter(moved.training_batches(8, torch.Generator())))[0].device == NOWHERE
    assert moved.inputs(2).device == NOWHERE
    assert isinstance(moved, Own)


def test_a_network_is_built_where_its_task_is(experiment, digits):
    model = build(experiment(), digits.to(NOWHERE))
    assert {parameter.device for parameter in model.parameters()} == {NOWHERE}


def test_a_run_on_the_cpu_leaves_a_gpu_alone_and_claims_none(experiment, tmp_path, monkeypatch):
    def touched(*arguments):
        raise AssertionError("a GPU was touched")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name in ("get_rng_state", "set_rng_state", "manual_seed"):
        monkeypatch.setattr(torch.cuda, name, touched)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *device: "a GPU")
    record = prunebench.run(experiment(measurements=["Size"]), runs=tmp_path)
    assert record.status == "ok", record.error
    assert "gpu" not in record.environment


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", ["GlobalMagnitude", "OBD", "RigL", "Random"])
def test_a_cell_runs_on_a_gpu_and_twice_the_same(experiment, tmp_path, strategy):
    made = experiment(strategy=strategy, device="cuda")
    first, second = (prunebench.run(made, runs=tmp_path / name) for name in "ab")
    assert first.status == "ok"
    assert first.environment["gpu"]
    assert first.final["top1"] == pytest.approx(second.final["top1"], abs=0.01)
    assert first.final["nonzero"] == second.final["nonzero"]


def test_data_are_loaded_once_for_each_device(tmp_path):
    dataset = Experiment(
        dataset="Digits", model="LeNetSmall", strategy="Random", compression=2.0
    ).dataset
    assert load_task(dataset, tmp_path) is load_task(dataset, tmp_path)
