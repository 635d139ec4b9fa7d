"""Runtimes and what is told of them: the same outputs, or a reason."""

import copy
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import nn

from prunebench.errors import UsageError
from prunebench.metrics import RUNTIMES, Protocol, inference_times
from prunebench.metrics.memory import peak_bytes
from prunebench.metrics.runtimes import (
    Compiled,
    Eager,
    OnnxRuntime,
    Runtime,
    SemiStructured,
    SparseBSR,
    SparseCSR,
    UnsupportedError,
    as_onnx,
    pytorch,
    sparse,
)
from prunebench.models import LeNet300100, LeNetSmall
from prunebench.strategies import MaskedWeights, couple, shrink

QUICK = Protocol(repeats=3, most_repeats=3, sample_ms=1e-3)


def networks_of(model, *shape, removed=0.5):
    """The network dense, masked and shrunk."""
    torch.manual_seed(0)
    model.eval()
    names = [name for name, p in model.named_parameters() if p.ndim > 1]
    coupling = couple(model, torch.zeros(1, *shape), names)
    kept = torch.rand(coupling.channels) >= removed
    kept[[group.start for group in coupling.groups.values()]] = True
    masked = copy.deepcopy(model)
    MaskedWeights(masked, coupling.masks(masked, kept)).apply()
    return {"dense": model, "masked": masked, "shrunk": shrink(masked, coupling, kept)}


def measured(networks, shape, runtimes, batch_sizes=(2,)):
    rows = inference_times(
        networks, lambda size: torch.randn(size, *shape), runtimes, batch_sizes, QUICK
    )
    return {(row.runtime, row.network, row.batch_size): row for row in rows}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # exporters warn of their own code
def test_every_runtime_is_measured_or_says_why_not():
    networks = networks_of(LeNetSmall(), 1, 8, 8)
    rows = measured(
        networks, (1, 8, 8), [OnnxRuntime(), SparseCSR(everywhere=True), SemiStructured()]
    )
    assert list(rows) == [
        ("Eager", "dense", 2),
        ("Eager", "masked", 2),
        ("Eager", "shrunk", 2),
        ("OnnxRuntime", "dense", 2),
        ("OnnxRuntime", "shrunk", 2),
        ("SparseCSR(everywhere=True)", "masked", 2),
        ("SemiStructured", "dense", 2),
        ("SemiStructured", "masked", 2),
    ]
    for (runtime, network, _), row in rows.items():
        if runtime == "SemiStructured":
            assert row.reason == "2:4 sparsity needs an NVIDIA GPU"
            assert row.median_ms is None
            continue
        assert row.reason == ""
        assert row.median_ms > 0
        assert row.repeats == 3
        assert row.speedup_low <= row.speedup <= row.speedup_high
        assert row.difference < 1e-4
        if network == "dense":
            assert row.speedup == 1
        assert (row.peak_bytes is not None) == (runtime == "Eager")
        assert row.memory_format in ("contiguous", "channels_last")
    assert rows["Eager", "shrunk", 2].peak_bytes < rows["Eager", "masked", 2].peak_bytes


@pytest.mark.slow
def test_without_removed_channels_the_masked_network_is_run():
    networks = networks_of(LeNet300100(), 1, 28, 28)
    del networks["shrunk"]
    rows = measured(networks, (1, 28, 28), [Eager(), SparseCSR()], (1, 3))
    assert {key[:2] for key in rows} == {
        ("Eager", "dense"),
        ("Eager", "masked"),
        ("SparseCSR", "masked"),
    }
    assert {key[2] for key in rows} == {1, 3}


@dataclass(frozen=True)
class _Wrong(Runtime):
    """Computes something else."""

    def prepare(self, model, inputs, examples=None):
        return lambda: model(inputs) + 1


@dataclass(frozen=True)
class _Breaking(Runtime):
    """Does not run."""

    def prepare(self, model, inputs, examples=None):
        raise RuntimeError("the kernel is not there\nand more that nobody wants to read")


def test_a_runtime_that_computes_something_else_is_not_timed():
    rows = measured(networks_of(LeNet300100(), 1, 28, 28), (1, 28, 28), [_Wrong(), _Breaking()])
    wrong, breaking = rows["_Wrong", "shrunk", 2], rows["_Breaking", "dense", 2]
    assert wrong.reason.startswith("its outputs differ from those of Eager by")
    assert wrong.median_ms is None
    assert breaking.reason == "not run: RuntimeError: the kernel is not there"


def test_networks_are_left_as_they_were():
    networks = networks_of(LeNetSmall(), 1, 8, 8)
    networks["dense"].train()
    before = {kind: copy.deepcopy(model.state_dict()) for kind, model in networks.items()}
    formats = [p.stride() for model in networks.values() for p in model.parameters()]
    measured(networks, (1, 8, 8), [])
    assert networks["dense"].training
    assert not networks["masked"].training
    assert formats == [p.stride() for model in networks.values() for p in model.parameters()]
    for kind, model in networks.items():
        model(torch.randn(2, 1, 8, 8)).sum().backward()  # no parameter became an inference tensor
        assert all(torch.equal(before[kind][n], t) for n, t in model.state_dict().items())


def test_sparse_rows_give_the_same_for_any_shape_of_inputs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3, bias=False)).eval()
    model[0].weight.data *= torch.rand(5, 6) > 0.5
    for shape in ((6,), (4, 6), (2, 3, 6)):
        inputs = torch.randn(2, *shape)
        with torch.inference_mode():
            run = SparseCSR(everywhere=True).prepare(model, inputs)
            torch.testing.assert_close(run(), model(inputs))


def test_a_layer_that_is_used_under_two_names_is_sparse_under_both(monkeypatch):
    torch.manual_seed(0)
    layer = nn.Linear(6, 6)
    model, inputs = nn.Sequential(layer, nn.ReLU(), layer).eval(), torch.randn(2, 6)
    calls = []
    forward = sparse.SparseLinear.forward
    monkeypatch.setattr(
        sparse.SparseLinear, "forward", lambda self, x: calls.append(self) or forward(self, x)
    )
    with torch.inference_mode():
        run = SparseCSR(everywhere=True).prepare(model, inputs)
        torch.testing.assert_close(run(), model(inputs))
    assert len(calls) == 2


def test_sparse_blocks_give_the_same_and_leave_what_they_do_not_divide():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    model[0].weight.data *= (torch.rand(3, 2) > 0.5).repeat_interleave(4, 0).repeat_interleave(4, 1)
    for shape in ((8,), (5, 8)):
        inputs = torch.randn(2, *shape)
        with torch.inference_mode():
            run = SparseBSR(size=4, everywhere=True).prepare(model, inputs)
            torch.testing.assert_close(run(), model(inputs))
            with pytest.raises(UnsupportedError, match="no linear layer is faster"):
                SparseBSR(size=5, everywhere=True).prepare(model, inputs)


def test_sparse_rows_are_used_where_they_are_faster_only(monkeypatch):
    model, inputs = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)), torch.randn(2, 6)
    monkeypatch.setattr(sparse, "is_faster", lambda *arguments: False)
    with torch.inference_mode(), pytest.raises(UnsupportedError, match="no linear layer is faster"):
        SparseCSR().prepare(model, inputs)


def test_a_compiler_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(pytorch.shutil, "which", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"needs a C\+\+ compiler"):
        Compiled().prepare(nn.Linear(2, 2), torch.zeros(1, 2))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_network_that_has_no_export_gets_the_reason():
    class Refusing(nn.Module):
        def forward(self, x):
            raise NotImplementedError("not today\nnor tomorrow")

    with pytest.raises(UnsupportedError, match=r"^no ONNX export: NotImplementedError: not today$"):
        as_onnx(Refusing(), torch.ones(2))


def test_the_reason_is_the_first_line_of_what_was_wrong_at_first():
    try:
        try:
            raise ValueError("\x1b[96mtwo\x1b[0m is odd\nand so on")
        except ValueError as first:
            raise RuntimeError("step 1 of 3 failed") from first
    except RuntimeError as error:
        found = UnsupportedError.because("no file", error)
    assert str(found) == "no file: ValueError: two is odd"


@pytest.mark.slow  # the compiler takes its time
@pytest.mark.filterwarnings("default")
def test_compiled_networks_give_the_same():
    networks = networks_of(LeNet300100(), 1, 28, 28)
    rows = measured(networks, (1, 28, 28), [Compiled()], (1, 4))
    assert all(row.reason == "" and row.difference < 1e-4 for row in rows.values())
    assert ("Compiled", "shrunk", 4) in rows


def test_the_peak_of_memory_is_that_of_the_largest_pair_of_layers(capfd):
    """Of 8 → 1000 → 10 → 2000 → 4 outputs, inputs and outputs of a layer are there at once."""
    widths = [8, 1000, 10, 2000, 4]
    layers = [nn.Linear(a, b, bias=False) for a, b in pairwise(widths)]
    model, inputs = nn.Sequential(*layers).eval(), torch.randn(16, 8)
    with torch.inference_mode():
        found = peak_bytes(lambda: model(inputs), model, inputs)
    standing = inputs.nbytes + sum(p.nbytes for p in model.parameters())
    assert found == standing + 16 * (2000 + 10) * 4
    assert capfd.readouterr() == ("", "")  # the profiler announces itself


def test_runtimes_are_components():
    assert {"Eager", "Compiled", "OnnxRuntime", "SparseCSR", "SparseDirect", "SemiStructured"} <= {
        *RUNTIMES.names()
    }
    with pytest.raises(UsageError, match="did you mean 'SparseCSR'"):
        RUNTIMES.component("SparseCSC")
