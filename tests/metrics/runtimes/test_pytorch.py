"""PyTorch's own runtimes, as far as they can be asked without a GPU."""

import pytest
import torch
from torch import nn

from prunebench.metrics.runtimes.pytorch import SemiStructured


class OnGPU(torch.Tensor):
    """What says that it is on a GPU."""

    is_cuda = True


@pytest.mark.parametrize(
    ("model", "inputs", "dtype"),
    [
        (nn.Embedding(10, 4), torch.arange(10), torch.float16),
        (nn.Embedding(10, 4).bfloat16(), torch.arange(10), torch.bfloat16),
        (nn.Linear(8, 4), torch.randn(2, 8), torch.float16),
        (nn.Linear(8, 4).bfloat16(), torch.randn(2, 8).bfloat16(), torch.bfloat16),
    ],
)
def test_sixteen_bits_are_those_that_the_network_has_and_tokens_stay_whole(
    monkeypatch, model, inputs, dtype
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    run = SemiStructured().prepare(model, inputs.as_subclass(OnGPU))
    with torch.no_grad():
        assert run().dtype == dtype
