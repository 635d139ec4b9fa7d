"""OpenVINO computes what eager PyTorch does, or says why not."""

import pytest
import torch
from torch import nn

from prunebench.metrics import UnsupportedError
from prunebench.metrics.runtimes import OpenVINO
from prunebench.models import LeNet300100, ResNetSmall


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # converters warn of their own code
@pytest.mark.parametrize(
    ("model", "shape"), [(LeNet300100(), (1, 28, 28)), (ResNetSmall(), (1, 8, 8))]
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_it_computes_the_same(model, shape, memory_format):
    pytest.importorskip("openvino", reason="openvino is not installed")
    torch.manual_seed(0)
    model = model.eval().to(memory_format=memory_format)
    inputs = torch.randn(3, *shape).contiguous(memory_format=memory_format)
    with torch.inference_mode():
        run, expected = OpenVINO().prepare(model, inputs), model(inputs)
        # What it reads must still be there when the memory of all else is in use again.
        junk = [torch.full(inputs.shape, torch.nan) for _ in range(100)]
        torch.testing.assert_close(run(), expected, atol=1e-5, rtol=1e-4)
        assert len(junk) == 100


@pytest.mark.filterwarnings("default")
def test_a_network_that_it_cannot_convert_gets_the_reason():
    pytest.importorskip("openvino", reason="openvino is not installed")

    class Refusing(nn.Module):
        def forward(self, inputs):
            raise NotImplementedError("not today")

    with pytest.raises(UnsupportedError, match=r"^no conversion to OpenVINO: "):
        OpenVINO().prepare(Refusing(), torch.ones(2))
