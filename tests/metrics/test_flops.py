"""Multiply–adds by weights, against a count of every single multiplication while networks run."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from prunebench.benchmark.cell.target import flops_left
from prunebench.metrics import Flops, Subject, flops_by_module, layer_table, work_by_weight
from prunebench.strategies import MaskedWeights, couple, prunable_weights, shrink

# Turning off the kernels of oneDNN warns of what concerns other machines.
pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration")


class Multiplications(TorchDispatchMode):
    """Counts the multiplications of all matrix products and convolutions that are run.

    A tensor is a weight if its storage is that of a parameter; multiplications by zeros of a weight
    are counted apart, in convolutions without padding one by one.
    """

    def __init__(self, model):
        super().__init__()
        self.storages = {self.storage(each) for each in model.parameters()}
        self.all = self.left = 0

    def storage(self, tensor):
        return tensor.untyped_storage().data_ptr()

    def indicator(self, tensor):
        ones = torch.ones(tensor.shape, dtype=torch.float64)
        return tensor.ne(0).double() if self.storage(tensor) in self.storages else ones

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot"):
            factors, product = args[-2:], torch.matmul
        elif name == "convolution":
            factors = args[:2]

            def product(x, w):
                return torch.ops.aten.convolution(x, w, None, *args[3:])
        else:
            return function(*args, **(kwargs or {}))
        self.left += round(float(product(*map(self.indicator, factors)).sum()))
        self.all += round(float(product(*(torch.ones_like(each) for each in factors)).sum()))
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _one_operation_after_the_other():
    """Without kernels that do several products at once, of which nothing would be seen."""
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        yield
    torch.backends.mha.set_fastpath_enabled(True)


class SelfAttention(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True, **settings)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class CrossAttention(nn.Module):
    """Few queries and many keys: parts of one matrix are used more often than others."""

    def __init__(self, **settings):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True, **settings)

    def forward(self, x):
        return self.attention(x[:, :2], x, x, need_weights=False)[0]


class Tied(nn.Module):
    """One matrix in two layers, once on a sequence and once turned over by hand."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 8, bias=False)
        self.second = nn.Linear(12, 8)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.relu(self.first(x)) @ self.first.weight)


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(8, 16, 3, groups=4)
        self.depthwise = nn.Conv2d(16, 16, 3, groups=16, stride=2)
        self.up = nn.ConvTranspose2d(16, 6, 2, stride=2)
        self.sequence = nn.Conv1d(6, 4, 5)

    def forward(self, x):
        return self.sequence(self.up(self.depthwise(self.grouped(x))).flatten(2))


class Reader(nn.Module):
    def __init__(self, kind, **settings):
        super().__init__()
        self.layers = kind(12, 5, num_layers=2, bidirectional=True, **settings)

    def forward(self, x):
        return self.layers(x)[0]


class Parts(nn.Module):
    """Parameters that are no module's weight, used in parts, expanded, cast and transposed."""

    def __init__(self):
        super().__init__()
        self.own = nn.Parameter(torch.randn(3, 12, 4))
        self.query = nn.Parameter(torch.randn(1, 4, 2))

    def forward(self, x):
        first, second, third = self.own.unbind(0)
        y = x.matmul(first) + torch.einsum("bsf,fo->bso", x, second.contiguous())
        z = F.linear(y, third[2:6].t().to(torch.float32))
        return torch.bmm(z, self.query.expand(x.shape[0], -1, -1))


class Products(nn.Module):
    """Products of tensors that are neither layers nor written as matrix products."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(2, 12, 5))
        self.offset = nn.Parameter(torch.randn(2, 7, 5))
        self.second = nn.Parameter(torch.randn(5, 4))
        self.third = nn.Parameter(torch.randn(6, 4))
        self.fourth = nn.Parameter(torch.randn(3, 6))
        self.vector = nn.Parameter(torch.randn(1, 7))

    def forward(self, x):
        x = torch.baddbmm(self.offset, x, self.first)
        x = torch.tensordot(x, self.second, dims=1)
        x = torch.inner(x, self.third)
        x = x.transpose(1, 2) @ self.vector[0]
        return torch.addmv(self.fourth.sum(1), self.fourth, x[0]) + torch.mv(self.fourth, x[1])


class Chains(nn.Module):
    """Products of several tensors by one operation, which chooses the order."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(12, 5))
        self.second = nn.Parameter(torch.randn(5, 4))
        self.third = nn.Parameter(torch.randn(4, 9))
        self.down = nn.Parameter(torch.randn(12, 2))
        self.up = nn.Parameter(torch.randn(2, 12))

    def forward(self, x):
        weights = [self.first, self.second, self.third]
        forwards = torch.linalg.multi_dot([x[0], *weights])
        backwards = torch.linalg.multi_dot([*(each.T for each in weights[::-1]), x[1].T])
        both_ends = torch.linalg.multi_dot([x[0], self.down, self.up, x[1].T])
        vectors = torch.linalg.multi_dot([x[0, 0], self.first, self.second[:, 0]])
        sums = torch.einsum("...nf,fh,ho,ok->...nk", x, *weights).sum(0)
        implicit = torch.einsum("bn f, fh", x, self.first).sum() + torch.einsum("bnf->nb", x).sum()
        return forwards + backwards.T + sums + both_ends.sum() + vectors + implicit


SEQUENCES = (2, 7, 12)
NETWORKS = {
    "self-attention": (SelfAttention, SEQUENCES),
    "cross-attention": (CrossAttention, SEQUENCES),
    "attention with three matrices": (lambda: CrossAttention(kdim=12, vdim=12), SEQUENCES),
    "transformer": (lambda: nn.TransformerEncoderLayer(12, 3, 16, batch_first=True), SEQUENCES),
    "vision transformer": (
        lambda: torchvision.models.VisionTransformer(8, 4, 2, 3, 12, 16, num_classes=10),
        (1, 3, 8, 8),
    ),
    "swin block": (
        lambda: torchvision.models.swin_transformer.SwinTransformerBlock(12, 3, [4, 4], [2, 2]),
        (1, 8, 8, 12),
    ),
    "swin block, second version": (
        lambda: torchvision.models.swin_transformer.SwinTransformerBlockV2(12, 3, [4, 4], [2, 2]),
        (1, 8, 8, 12),
    ),
    "tied": (Tied, SEQUENCES),
    "convolutions": (Convolutions, (1, 8, 12, 12)),
    "LSTM": (lambda: Reader(nn.LSTM), SEQUENCES),
    "projected LSTM": (lambda: Reader(nn.LSTM, proj_size=3), SEQUENCES),
    "GRU": (lambda: Reader(nn.GRU, batch_first=True), SEQUENCES),
    "parts": (Parts, SEQUENCES),
    "products": (Products, SEQUENCES),
    "chains": (Chains, SEQUENCES),
}


def sparse(model):
    """Half of the weights zero, in each matrix another part, and rows of it more than others."""
    with torch.no_grad():
        for number, weight in enumerate(each for each in model.parameters() if each.ndim > 1):
            chances = torch.linspace(0.1, 0.9, len(weight)).view(-1, *[1] * (weight.ndim - 1))
            weight.mul_(torch.rand(weight.shape) > (chances if number % 2 else chances.flip(0)))
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_multiplication_by_a_weight_that_is_zero_is_left_out_and_no_other(name):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model, inputs = sparse(make()), torch.randn(shape)
    with torch.no_grad(), Multiplications(model) as counted:
        model(inputs)
    work = work_by_weight(model, inputs)
    assert sum(each.flops for each in work) == counted.all > 0
    assert sum(each.effective for each in work) == pytest.approx(counted.left, rel=1e-12)
    assert counted.left < counted.all


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_rows_of_the_table_and_products_of_activations_are_all_there_is(name):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model, inputs = sparse(make()), torch.randn(shape)

    class Inputs:
        def inputs(self, count):
            return inputs

    measured = Flops().measure(Subject(model, copy.deepcopy(model), Inputs(), ()))
    rows = layer_table(model, work_by_weight(model, inputs))
    others = [each for each in work_by_weight(model, inputs) if each.factor.weight is None]
    rest = sum(each.flops for each in others)
    assert bool(others) == (name not in ("tied", "convolutions", "LSTM", "GRU", "projected LSTM",
                                         "parts", "products"))  # fmt: skip
    assert sum(row.flops for row in rows) + rest == measured["flops"]
    assert sum(row.effective_flops for row in rows) + rest == pytest.approx(
        measured["effective_flops"], rel=1e-12
    )
    assert all(row.flops == 0 for row in rows if len(row.shape) == 1)
    assert measured["flops"] == sum(flops_by_module(model, inputs).values())


def test_attention_without_projections_of_its_inputs_still_multiplies():
    attention = SelfAttention()
    nn.init.zeros_(attention.attention.in_proj_weight)
    inputs = torch.randn(1, 5, 12)
    work = {each.factor.weight: each.effective for each in work_by_weight(attention, inputs)}
    assert work == {
        "attention.in_proj_weight": 0,
        None: 2 * 5 * 5 * 12,
        "attention.out_proj.weight": 5 * 12 * 12,
    }


def test_a_weight_computed_from_several_counts_as_it_is_computed_and_for_the_largest():
    class LowRank(nn.Module):
        def __init__(self):
            super().__init__()
            self.tall = nn.Parameter(torch.randn(6, 2))
            self.wide = nn.Parameter(torch.randn(2, 9))

        def forward(self, x):
            weight = (self.tall @ self.wide).clone(memory_format=torch.contiguous_format)
            return F.linear(x, weight.mul_(2.0).add(weight, alpha=0.5))

    model = LowRank()
    with torch.no_grad():
        model.tall[:3] = 0
        model.wide[:, :2] = 0
    work = work_by_weight(model, torch.randn(4, 9))
    assert {each.factor.weight for each in work} == {"wide"}
    assert sum(each.flops for each in work) == 6 * 2 * 9 + 4 * 6 * 9
    assert sum(each.effective for each in work) == pytest.approx(3 * 2 * 7 + 4 * 3 * 7)

    normalised = nn.utils.parametrizations.weight_norm(nn.Linear(8, 5))
    with torch.no_grad():
        normalised.parametrizations.weight.original1[:, :6] = 0
    (work,) = work_by_weight(normalised, torch.randn(1, 8))
    assert (work.factor.weight, work.flops) == ("parametrizations.weight.original1", 40)
    assert work.effective == 5 * 2


def test_a_weight_that_only_the_network_can_compute_counts_as_its_parameter():
    class Signs(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight):
            return weight.sign()

    class Binary(nn.Linear):
        def forward(self, x):
            return F.linear(x, Signs.apply(self.weight))

    model = Binary(8, 4)
    with torch.no_grad():
        model.weight[:3] = 0
    (work,) = work_by_weight(model, torch.randn(1, 8))
    assert (work.factor.weight, work.effective) == ("weight", 8)


def test_where_heads_were_removed_their_products_are_gone_too():
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(8, 4, 2, 3, 12, 16, num_classes=10).eval()
    nn.init.ones_(model.heads.head.weight)  # it begins as zeros
    inputs = torch.randn(1, 3, 8, 8)
    coupling = couple(model, inputs, prunable_weights(model))
    kept = torch.arange(coupling.channels) % 3 == 0
    kept[[group.start for group in coupling.groups.values()]] = True
    masked = copy.deepcopy(model)
    MaskedWeights(masked, coupling.masks(masked, kept)).apply()
    small = shrink(masked, coupling, kept)

    class Inputs:
        def inputs(self, count):
            return inputs

    measured = Flops().measure(Subject(masked, model, Inputs(), (), shrunk=small))
    expected = sum(flops_by_module(small, inputs).values())
    assert measured["effective_flops"] == pytest.approx(expected)
    assert flops_left(model, inputs)(coupling, kept) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("equation", "shapes", "products"),
    [
        ("bnd,od->bno", [(1, 7, 1000), (1003, 1000)], 7 * 1000 * 1003),
        ("bnd,od->bnod", [(1, 7, 3), (5, 3)], 7 * 3 * 5),
        ("bnd,od", [(2, 7, 3), (5, 3)], 2 * 7 * 3 * 5),
        ("...d,od->o...", [(2, 7, 3), (5, 3)], 2 * 7 * 3 * 5),
        ("bnd,bod->bno", [(2, 7, 3), (1, 5, 3)], 2 * 7 * 3 * 5),
        ("ab,bc,cd->ad", [(2, 3), (3, 5), (5, 7)], 2 * 3 * 5 + 2 * 5 * 7),
    ],
)
def test_products_by_einsum_count_to_the_last_one(equation, shapes, products):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = nn.ParameterList(torch.randn(shape) for shape in shapes[1:])

        def forward(self, x):
            return torch.einsum(equation, x, *self.weights)

    work = work_by_weight(Named(), torch.randn(shapes[0]))
    assert sum(each.flops for each in work) == products


@pytest.mark.parametrize("dilation", [1, 2])
def test_padding_by_name_is_the_padding_that_it_is(dilation):
    def flops(padding):
        torch.manual_seed(0)
        model = sparse(nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding, dilation=dilation)))
        return work_by_weight(model, torch.randn(2, 3, 9, 9))

    assert flops("same") == flops(dilation)
    assert flops("valid") == flops(0)
    assert flops("same")[0].flops == 2 * 4 * 9 * 9 * 3 * 9


def test_a_matrix_that_is_multiplied_with_many_counts_with_each():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(6, 5))

        def forward(self, x):
            return self.w @ x

    (work,) = work_by_weight(Wide(), torch.randn(3, 7, 5, 2))
    assert work.flops == 6 * 5 * 3 * 7 * 2
    assert work.factor.weight == "w"


def test_a_bilinear_layer_multiplies_each_pair_of_features_by_a_weight():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Bilinear(4, 5, 6)

        def forward(self, x):
            return self.layer(x[:, :4], x[:, 4:])

    (work,) = work_by_weight(Pairs(), torch.randn(3, 9))
    assert work.flops == 3 * 4 * 5 * 6
