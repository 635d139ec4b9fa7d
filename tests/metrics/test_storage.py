"""Files without zeros: read back bit by bit, and as small as arithmetic says."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from prunebench import run
from prunebench.metrics import Storage, Subject, decode, encode
from prunebench.models import LeNet5, LeNet300100, ResNetSmall
from prunebench.strategies import couple, shrink


def written(tmp_path, state):
    path = tmp_path / "network.safetensors"
    path.write_bytes(encode(state))
    return path


def bits(tensor):
    return tensor.contiguous().flatten().view(torch.uint8).tolist()


def pruned(model, sparsity, seed=0):
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.masked_fill_(torch.rand(parameter.shape, generator=rng) < sparsity, 0)
    return model


def test_a_network_is_read_back_as_it_was(tmp_path):
    state = pruned(ResNetSmall().to(memory_format=torch.channels_last), 0.7).state_dict()
    back = decode(written(tmp_path, state))
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype
        assert back[name].shape == tensor.shape
        assert bits(back[name]) == bits(tensor)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool]
)
def test_every_value_survives_negative_zero_and_nan_included(tmp_path, dtype):
    values = (
        [0.0, -0.0, 1.5, float("nan"), float("inf"), -2.0] if dtype.is_floating_point else [0, 1]
    )
    tensor = torch.zeros(50, dtype=dtype)
    tensor[: len(values)] = torch.tensor(values, dtype=dtype)
    state = {"long": tensor, "scalar": torch.tensor(values[-1], dtype=dtype), "none": tensor[:0]}
    back = decode(written(tmp_path, state))
    assert all(bits(back[name]) == bits(state[name]) for name in state)


@given(shape=st.lists(st.integers(0, 9), max_size=3), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_any_shape_and_sparsity_survives(tmp_path_factory, shape, share, seed):
    rng = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape, generator=rng) * (torch.rand(shape, generator=rng) < share)
    path = written(tmp_path_factory.mktemp("storage"), {"weight": tensor})
    assert bits(decode(path)["weight"]) == bits(tensor)


def test_a_lenet_300_100_with_a_tenth_of_its_weights_takes_less_than_a_fifth(tmp_path):
    model = pruned(LeNet300100(), 0.9)
    subject = Subject(model, LeNet300100(), None, ())
    measured = Storage().measure(subject)
    weights, biases = 266_200, 410
    nonzero = sum(int(p.count_nonzero()) for p in model.parameters()) - biases
    content = weights / 8 + 4 * (nonzero + biases)
    assert content < measured["file_bytes_sparse"] < content + 2000  # names and shapes
    assert measured["file_bytes_sparse"] < 0.2 * measured["file_bytes"]
    assert measured["file_bytes_compressed"] <= measured["file_bytes_sparse"]
    back = decode(written(tmp_path, model.state_dict()))
    assert all(bits(back[name]) == bits(tensor) for name, tensor in model.state_dict().items())


def test_a_dense_network_is_stored_as_it_is():
    model = LeNet300100()
    measured = Storage().measure(Subject(model, model, None, ()))
    assert measured["file_bytes_sparse"] == pytest.approx(measured["file_bytes"], abs=200)
    assert measured["file_bytes"] == pytest.approx(4 * 266_610, abs=1000)
    assert "file_bytes_shrunk" not in measured


def test_a_shrunk_network_counts_as_it_is():
    model = LeNet5()
    coupling = couple(model, torch.zeros(1, 1, 28, 28), ["conv1.weight", "conv2.weight"])
    small = shrink(model, coupling, torch.arange(coupling.channels) % 2 == 0)
    measured = Storage().measure(Subject(model, model, None, (), shrunk=small))
    parameters = sum(p.numel() for p in small.parameters())
    assert measured["file_bytes_shrunk"] == pytest.approx(4 * parameters, abs=1000)


@pytest.mark.slow
def test_the_zeros_of_a_finished_run_are_left_out(experiment, tmp_path):
    """Masking a negative weight leaves a negative zero, whose bits would be stored."""
    record = run(experiment(compression=8.0), runs=tmp_path)
    final = record.final
    assert final["file_bytes_sparse"] < 4 * final["nonzero"] + final["parameters"] / 8 + 2000


def test_equal_networks_make_equal_files():
    one, other = (pruned(LeNet300100(), 0.0) for _ in range(2))
    other.load_state_dict(one.state_dict())
    pruned(one, 0.8)
    pruned(other, 0.8)
    assert encode(one.state_dict()) == encode(other.state_dict())


def test_the_format_is_read_with_safetensors_and_numpy_alone(tmp_path):
    state = pruned(LeNet300100(), 0.9).state_dict()
    with safe_open(written(tmp_path, state), "numpy") as file:
        shape = json.loads(file.metadata()["bitmask_shapes"])["linear2.weight"]
        there = np.unpackbits(file.get_tensor("linear2.weight.bitmask")).astype(bool)
        weight = np.zeros(np.prod(shape), dtype=np.float32)
        weight[there[: len(weight)]] = file.get_tensor("linear2.weight.values")
    assert np.array_equal(weight.reshape(shape), state["linear2.weight"].numpy())
