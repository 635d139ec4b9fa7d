"""What flows into and out of the layers that own the prunable weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from ...datasets import Batch
from ...errors import UsageError
from ...orientation import is_transposed
from .context import Context
from .modes import evaluation_mode
from .prunable import is_kind, outputs_first

CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
OBSERVED: tuple[type[nn.Module], ...] = (nn.Linear, *CONVOLUTIONS, nn.Embedding, nn.RNNBase)

Owners = dict[str, list[nn.Module]]


def owners(model: nn.Module, names: Iterable[str], kinds: tuple[type[nn.Module], ...]) -> Owners:
    """The modules of some kinds that use each of the parameters ``names``, a shared one several.

    For the linear layers of GPT-2 see :func:`.prunable.is_kind`.

    A parameter that a module of another kind uses is left out, and so are those of a recurrent
    module that projects its states, and what attention does not call as a module.
    """
    chosen = set(names)
    canonical = {id(p): name for name, p in model.named_parameters() if name in chosen}
    found: Owners = {}
    foreign: set[str] = set()
    for module in model.modules():
        known = (
            is_kind(module, kinds)
            and not getattr(module, "proj_size", 0)
            and not isinstance(module, NonDynamicallyQuantizableLinear)
        )
        for parameter in module.parameters(recurse=False):
            name = canonical.get(id(parameter))
            if name is not None and known:
                found.setdefault(name, []).append(module)
            elif name is not None:
                foreign.add(name)
    return {name: found[name] for name in names if name in found and name not in foreign}


def refuse_unseen(context: Context, names: Iterable[str]) -> None:
    """Make sure that weights whose layers are not called have no part in the loss.

    A network may take a layer's weight and call no layer, as ``F.linear(x, layer.weight)`` does. No
    hook sees then what it is multiplied with, so that nothing is known of it, which is not the same
    as that it does not matter.

    Args:
        context: has the model and the task.
        names: of the weights whose layers nobody has seen at work; mostly there are none.

    Raises:
        UsageError: the loss depends on one of them.
    """
    parameters = dict(context.model.named_parameters())
    unseen = {name: parameters[name] for name in names}
    if not unseen:
        return
    batch = next(iter(context.task.batches("train", 1)))
    with evaluation_mode(context.model), torch.enable_grad():
        loss = context.task.loss(context.model, batch)
        slopes = torch.autograd.grad(loss, list(unseen.values()), allow_unused=True)
    for name, slope in zip(unseen, slopes, strict=True):
        if slope is not None:
            raise UsageError(
                f"what {name} of {type(context.model).__name__} is multiplied with does not show: "
                "the network uses it without calling its layer; call the layer, or leave it out "
                f"with prune_except: ['{name}']"
            )


def input_norms(context: Context, batches: int, batch_size: int) -> dict[str, Tensor]:
    """‖x_j‖₂ of what each prunable weight is multiplied with, over the scoring examples.

    Positions of an image or a sequence count as examples do, also those that fill up a shorter one
    in a batch. The tensors broadcast to the shapes of the weights: an input has one norm for all
    outputs, in a convolution one for each group, input channel and kernel position. A recurrent
    layer multiplies ``weight_ih`` with its inputs and ``weight_hh`` with its hidden states; an
    embedding's norm is the square root of how often the row was looked up. That of a layer which
    the model does not use is zero.

    Raises:
        UsageError: as :func:`refuse_unseen`.
    """
    found = owners(context.model, context.masks, OBSERVED)
    parameters = dict(context.model.named_parameters())
    names = {id(parameters[name]): name for name in found}
    squares = {name: parameters[name].new_zeros(()) for name in found}

    def observe(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        for parameter, square in _squares_of_inputs(module, inputs):
            if (name := names.get(id(parameter))) is not None:
                squares[name] = squares[name] + square

    modules = {id(module): module for group in found.values() for module in group}
    with evaluation_mode(context.model), torch.no_grad(), hooked(modules.values(), observe):
        context.send(batches, batch_size)
    refuse_unseen(context, (name for name, square in squares.items() if square.ndim == 0))
    return {name: square.sqrt() for name, square in squares.items()}


class Layout(NamedTuple):
    """Where the examples of a batch are in what flows into or out of a module.

    Attributes:
        dimension: along which they are.
        inner: whether one example's positions lie apart there, the examples being the inner part of
            a dimension that has both, as after ``flatten(0, 1)`` of steps × examples.
    """

    dimension: int
    inner: bool = False

    def apart(self, tensor: Tensor, examples: int) -> Tensor:
        """``tensor`` with a first dimension of ``examples``; positions beside them keep their own.

        The order of the other dimensions stays.
        """
        if tensor.shape[self.dimension] == examples:
            return tensor.movedim(self.dimension, 0)
        parts = (-1, examples) if self.inner else (examples, -1)
        return tensor.unflatten(self.dimension, parts).movedim(self.dimension + self.inner, 0)


def layouts(
    context: Context,
    modules: Iterable[nn.Module],
    batch: Batch,
    observed: Callable[[Any, Any], Tensor],
) -> dict[int, Layout] | None:
    """Where the examples are in what each module takes or gives, by the ``id`` of the module.

    A network may have steps first, or fold examples and positions into one dimension. What that is
    shows when the same batch goes through once and then twice over. For a batch of one example
    there is nothing to tell, and all dimensions are positions.

    Args:
        context: has the model and the task.
        modules: the modules to look at.
        batch: scoring examples.
        observed: the tensor in question, of a module's inputs and its output.

    Returns:
        None if it does not show, as where sequences are packed.
    """
    calls: list[tuple[int, Tensor]] = []

    def watch(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls.append((id(module), observed(inputs, output)))

    with evaluation_mode(context.model), torch.no_grad(), hooked(modules, watch):
        context.task.loss(context.model, batch)
        once, calls = calls, []
        context.task.loss(context.model, (torch.cat([batch[0]] * 2), torch.cat([batch[1]] * 2)))
    found: dict[int, Layout] = {}
    if [module for module, _ in once] != [module for module, _ in calls]:
        return None
    for (module, single), (_, double) in zip(once, calls, strict=True):
        layout = _layout(single, double, len(batch[0]))
        if layout is None or found.setdefault(module, layout) != layout:
            return None
    return found


def singly(batch: Batch) -> Iterator[Batch]:
    """The examples of a batch, each as a batch of its own."""
    return zip(*(part.split(1) for part in batch), strict=True)


def _layout(single: Tensor, double: Tensor, examples: int) -> Layout | None:
    """The layout of a tensor that a batch gives, beside that of the batch twice over."""
    sizes = list(zip(single.shape, double.shape, strict=False))
    changed = [dimension for dimension, (one, two) in enumerate(sizes) if one != two]
    if single.ndim != double.ndim or len(changed) != 1:
        return None
    (dimension,) = changed
    one, two = sizes[dimension]
    if two != 2 * one or one % examples:
        return None
    if one == examples:
        return Layout(dimension)
    scale = single.abs().max()
    fitting = [
        layout
        for layout in (Layout(dimension), Layout(dimension, inner=True))
        if torch.allclose(
            layout.apart(double, 2 * examples)[:examples],
            layout.apart(single, examples),
            rtol=0,
            atol=1e-3 * float(scale),
        )
    ]
    return fitting[0] if len(fitting) == 1 else None


def mean_inputs(context: Context, batch: Batch) -> dict[str, Tensor]:
    """Of each linear and convolutional layer the mean over positions of |mean over examples of x|.

    One number for each input channel or feature x of the layers that own the prunable weights; zero
    where the model does not use a layer.

    Raises:
        UsageError: as :func:`refuse_unseen`; or it does not show which part of a layer's input
            belongs to which example.
    """
    found = owners(context.model, context.masks, (nn.Linear, *CONVOLUTIONS))
    modules = {id(module): module for group in found.values() for module in group}
    known = layouts(context, modules.values(), batch, lambda inputs, output: inputs[0])
    if known is None:
        raise UsageError(
            f"activation magnitudes of {type(context.model).__name__} are not possible: it does "
            "not show which part of a layer's input belongs to which example"
        )
    rows: dict[int, list[Tensor]] = {key: [] for key in modules}

    def observe(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        means = known[id(module)].apart(inputs[0], len(batch[0])).mean(0).abs()
        features = means.movedim(1 - module.weight.ndim, -1)
        rows[id(module)].append(features.reshape(-1, features.shape[-1]))

    with evaluation_mode(context.model), torch.no_grad(), hooked(modules.values(), observe):
        context.task.loss(context.model, batch)
    refuse_unseen(context, (name for name in found if not any(rows[id(m)] for m in found[name])))
    means = {}
    weights = outputs_first(context.model, context.weights)
    for name, group in found.items():
        seen = [row for module in group for row in rows[id(module)]]
        weight = weights[name]
        inputs = weight.shape[1] * getattr(group[0], "groups", 1)
        means[name] = torch.cat(seen).mean(0) if seen else weight.new_zeros(inputs)
    return means


@contextmanager
def hooked(
    modules: Iterable[nn.Module], function: Callable[..., Any], *, named: bool = False
) -> Iterator[None]:
    """While it lasts, ``function`` is a forward hook of each of ``modules``.

    With ``named`` it is given the inputs that have names too.
    """
    with ExitStack() as stack:
        # The fused path of transformers runs layers without calling them.
        stack.callback(
            torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled()
        )
        torch.backends.mha.set_fastpath_enabled(False)
        for module in modules:
            stack.callback(module.register_forward_hook(function, with_kwargs=named).remove)
        yield


def _squares_of_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> Iterator[tuple[Any, Tensor]]:
    """Sums of squares of what each weight of ``module`` is multiplied with."""
    if is_kind(module, (nn.Linear,)):
        squares = _sum_of_squares(inputs[0])
        yield module.weight, squares.unsqueeze(1) if is_transposed(module) else squares
    elif isinstance(module, nn.Embedding):
        counts = torch.bincount(inputs[0].reshape(-1), minlength=module.num_embeddings)
        precise = torch.promote_types(module.weight.dtype, torch.float32)
        yield module.weight, counts.to(precise).unsqueeze(1)
    elif isinstance(module, nn.RNNBase):
        yield from _squares_in_recurrence(module, *inputs)
    elif isinstance(module, CONVOLUTIONS):
        yield module.weight, _squares_under_kernel(module, inputs[0])


def _squares_under_kernel(module: Any, images: Tensor) -> Tensor:
    """For each weight of a convolution the sum of squares of the pixels it is multiplied with.

    By linearity: the gradient of a sum of outputs by a weight is the sum of its pixels, so that the
    pixels' squares in place of the pixels give the sum of squares.
    """
    precise = torch.promote_types(module.weight.dtype, torch.float32)
    weight = torch.zeros_like(module.weight, dtype=precise, requires_grad=True)
    with torch.enable_grad():
        squares = images.detach().to(precise).square()
        outputs = module._conv_forward(squares, weight, None)
        (sums,) = torch.autograd.grad(outputs.sum(), weight)
    return sums


def _squares_in_recurrence(
    module: nn.RNNBase, sequences: Tensor | PackedSequence, hidden: Any = None
) -> Iterator[tuple[Any, Tensor]]:
    """Layer by layer the squares of its inputs and of the hidden states that it goes on from."""
    ends = ("", "_reverse") if module.bidirectional else ("",)
    states = hidden[0] if isinstance(hidden, tuple) else hidden
    for layer in range(module.num_layers):
        inputs, lengths = _steps_first(sequences, module.batch_first)
        sequences = (
            _single_layer(module, layer)(sequences)[0]
            if states is None
            else (_single_layer(module, layer)(sequences, _of_layer(hidden, layer, len(ends)))[0])
        )
        outputs, _ = _steps_first(sequences, module.batch_first)
        last = torch.arange(len(lengths), device=outputs.device)
        for direction, end in enumerate(ends):
            yield getattr(module, f"weight_ih_l{layer}{end}"), _sum_of_squares(inputs)
            width = module.hidden_size
            reached = outputs[..., direction * width : (direction + 1) * width].clone()
            reached[0 if end else lengths - 1, last] = 0  # from which nothing goes on
            square = _sum_of_squares(reached)
            if states is not None:
                square = square + _sum_of_squares(states[layer * len(ends) + direction])
            yield getattr(module, f"weight_hh_l{layer}{end}"), square


def _single_layer(module: nn.RNNBase, layer: int) -> nn.Module:
    """One layer of a recurrent module as a module, with the same parameters."""
    options = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
    directions = 2 if module.bidirectional else 1
    kind: Any = type(module)
    single: nn.Module = kind(
        module.input_size if layer == 0 else module.hidden_size * directions,
        module.hidden_size,
        bias=module.bias,
        batch_first=module.batch_first,
        bidirectional=module.bidirectional,
        device="meta",  # so that no weights are drawn
        **options,
    )
    for name in list(single._parameters):
        setattr(single, name, getattr(module, name.replace("_l0", f"_l{layer}")))
    return single


def _of_layer(hidden: Any, layer: int, directions: int) -> Any:
    """The initial states of one layer."""
    part = slice(layer * directions, (layer + 1) * directions)
    if isinstance(hidden, tuple):
        return tuple(state[part].contiguous() for state in hidden)
    return hidden[part].contiguous()


def _steps_first(sequences: Tensor | PackedSequence, batch_first: bool) -> tuple[Tensor, Tensor]:
    """Sequences as steps × batch × features, zero where they have ended, and their lengths."""
    if isinstance(sequences, PackedSequence):
        padded, lengths = pad_packed_sequence(sequences)
        return padded, lengths.to(padded.device)
    if sequences.ndim == 2:
        steps = sequences.unsqueeze(1)
    else:
        steps = sequences.transpose(0, 1) if batch_first else sequences
    return steps, torch.full((steps.shape[1],), len(steps), device=steps.device)


def _sum_of_squares(tensor: Tensor) -> Tensor:
    """Over all dimensions but the last, in float32 at least."""
    wide = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    return wide.reshape(-1, wide.shape[-1]).square().sum(0)
