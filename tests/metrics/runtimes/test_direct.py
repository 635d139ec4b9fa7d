"""Direct sparse convolution gives what torch gives, whatever the windows, in any network."""

import copy
import shutil

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from prunebench.metrics import UnsupportedError
from prunebench.metrics.runtimes import SparseDirect, direct, direct_convolution
from prunebench.metrics.runtimes.direct_convolution import DirectConvolution, Geometry

compiled = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler"
)


def sparse(*shape, density=0.4):
    return torch.randn(shape) * (torch.rand(shape) < density)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@compiled
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 5)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 3)])
@pytest.mark.parametrize(("dilation", "groups"), [((1, 1), 1), ((2, 1), 2), ((1, 2), 4)])
def test_any_convolution_is_that_of_torch(kernel, stride, padding, dilation, groups):
    for image in [(2, 2), (7, 7), (9, 5), (20, 23), (30, 30)]:
        sizes = zip(image, padding, dilation, kernel, strict=True)
        if any(size + 2 * pad <= far * (taps - 1) for size, pad, far, taps in sizes):
            continue
        weight, bias = sparse(8, 4 // groups, *kernel), torch.randn(8)
        geometry = Geometry(stride, padding, dilation, groups)
        inputs = torch.randn(3, 4, *image)
        expected = F.conv2d(inputs, weight, bias, *geometry)
        layer = DirectConvolution(weight, bias, geometry, (4, *image))
        torch.testing.assert_close(layer(inputs), expected, atol=1e-5, rtol=1e-5)
        rectified = DirectConvolution(weight, bias, geometry, (4, *image), rectified=True)
        added = torch.randn_like(expected)
        found = rectified(inputs, added)
        torch.testing.assert_close(found, F.relu(expected + added), atol=1e-5, rtol=1e-5)


@compiled
@pytest.mark.parametrize("image", [(1, 1), (3, 4), (14, 14), (17, 40)])
def test_threads_share_the_work(image):
    weight, bias, inputs = sparse(5, 3, 3, 3), torch.randn(5), torch.randn(2, 3, *image)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        layer = DirectConvolution(weight, bias, Geometry(padding=(1, 1)), (3, *image))
    finally:
        torch.set_num_threads(before)
    expected = F.conv2d(inputs, weight, bias, padding=1)
    torch.testing.assert_close(layer(inputs), expected, atol=1e-5, rtol=1e-5)


@compiled
def test_without_weights_only_the_bias_is_left():
    layer = DirectConvolution(torch.zeros(2, 3, 3, 3), torch.arange(2.0), Geometry(), (3, 9, 9))
    expected = torch.arange(2.0).view(1, 2, 1, 1).expand(4, 2, 7, 7)
    assert torch.equal(layer(torch.randn(4, 3, 9, 9)), expected)


@compiled
def test_what_is_not_a_number_stays_none():
    layer = DirectConvolution(
        torch.ones(1, 1, 1, 1), torch.zeros(1), Geometry(), (1, 4, 5), rectified=True
    )
    inputs = torch.full((1, 1, 4, 5), torch.nan)
    assert layer(inputs).isnan().all()


class Tangled(nn.Module):
    """Sums, in-place changes and outputs that are used twice, so that not all can be joined."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding="same")
        self.norm = nn.BatchNorm2d(6, affine=False)
        self.second = nn.Conv2d(6, 6, 1)
        self.third = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.last = nn.Linear(6, 4)

    def forward(self, images):
        one = self.first(images)
        two = self.norm(self.second(one))
        two += one
        three = self.third(two.relu_())
        four = torch.add(three, two, alpha=2) + self.second(three + three)
        five = self.third(four) + four.mean((2, 3), keepdim=True)
        return self.last(F.max_pool2d(five.relu(), 3, 2, 1).mean((2, 3)))


def pruned(model):
    """With weights that are zero, and normalisation that does something."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data *= torch.rand_like(parameter) < 0.3
    return model.eval()


@compiled
@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "memory_format"),
    [
        (Tangled, torch.contiguous_format),
        (Tangled, torch.channels_last),
        (resnet18, torch.channels_last),
    ],
)
def test_a_network_computes_the_same_without_its_zeros(build, memory_format):
    model = pruned(build()).to(memory_format=memory_format)
    before = copy.deepcopy(model.state_dict())
    inputs = torch.randn(2, 3, 48, 48).contiguous(memory_format=memory_format)
    with torch.inference_mode():
        expected = model(inputs)
        run = SparseDirect(everywhere=True).prepare(model, inputs)
        for _ in range(2):  # what is packed once does no harm to the next
            torch.testing.assert_close(run(), expected, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@compiled
def test_layers_are_sparse_where_they_are_faster_only(monkeypatch):
    monkeypatch.setattr(direct, "is_faster", lambda *arguments: False)
    with torch.inference_mode(), pytest.raises(UnsupportedError, match=r"^no layer is faster"):
        SparseDirect().prepare(pruned(Tangled()), torch.randn(1, 3, 8, 8))


def test_a_c_compiler_that_is_missing_is_named(monkeypatch):
    direct_convolution._library.cache_clear()
    monkeypatch.setattr(direct_convolution.shutil, "which", lambda name: None)
    with pytest.raises(UnsupportedError, match="needs a C compiler, and there is none"):
        SparseDirect().prepare(nn.Conv2d(2, 2, 3).eval(), torch.zeros(1, 2, 8, 8))


@compiled
def test_a_c_compiler_that_fails_says_why(monkeypatch, tmp_path):
    direct_convolution._library.cache_clear()
    source = tmp_path / "broken.c"
    source.write_text("int one = two;\n")
    monkeypatch.setattr(direct_convolution, "_SOURCE", source)
    with pytest.raises(UnsupportedError, match=r"cannot make the kernel: .*two"):
        SparseDirect().prepare(nn.Conv2d(2, 2, 3).eval(), torch.zeros(1, 2, 8, 8))
