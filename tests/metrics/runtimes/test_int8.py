"""Int8 in ONNX Runtime: nearly the same outputs, and how near is told."""

import pytest
import torch

from prunebench.metrics import Protocol, inference_times
from prunebench.metrics.runtimes import OnnxInt8
from prunebench.models import ResNetSmall

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # exporters warn of their own code
def test_outputs_differ_by_rounding_and_by_how_much_is_told(capfd):
    if torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 exports no batch normalisation with today's onnxscript")
    torch.manual_seed(0)
    model = ResNetSmall()
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(64, 1, 8, 8))  # for the statistics of normalisation
    rows = inference_times(
        {"dense": model, "masked": model},
        lambda size: torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
        [OnnxInt8()],
        (8,),
        Protocol(repeats=3, most_repeats=3, sample_ms=1e-3),
    )
    found = [row for row in rows if row.runtime == "OnnxInt8"]
    assert [row.network for row in found] == ["dense", "masked"]
    for row in found:
        assert row.reason == ""
        assert row.median_ms > 0
        # Two roundings to one of 256 values, through a few layers.
        assert 1e-4 < row.difference < 0.15
    assert capfd.readouterr().out == ""


@pytest.mark.filterwarnings("default")
def test_scales_are_those_of_the_examples():
    layer = torch.nn.Linear(4, 2, bias=False).eval()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]]))
    examples = torch.tensor([[0.0, 2.55, 0, 0], [1.0, 0.5, 0, 0], [0.3, 0.2, 0, 0]])
    inputs = torch.tensor([[9.0, 0.5149, 0, 0]])  # the first beyond all examples
    expected = torch.tensor([[2.55, 0.51]])  # clipped, and a multiple of 2.55 / 255
    runtime = OnnxInt8()
    assert torch.allclose(runtime.rounded(layer, examples)(inputs), expected, atol=1e-3)
    assert torch.allclose(runtime.prepare(layer, inputs, examples)(), expected, atol=1e-3)
