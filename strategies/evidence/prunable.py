"""Which weights of a network are prunable: one set for all strategies of a comparison.

They are the trained weight matrices and kernels, whichever way round they are stored, one that
several modules share being named once. An experiment may leave the output layer out
(``prune_classifier``), name those that are meant (``prune_only``) and those that are not
(``prune_except``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.rnn import PackedSequence
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils._pytree import tree_map

from ...errors import UsageError
from ...orientation import is_conv1d, transposed_weights
from ...protocols import NamesOutputLayer, NamesWeightClasses, declared
from .modes import evaluation_mode

# The kinds of normalisation whose weights may have two dimensions or more.
_NORMALISATION = (nn.LayerNorm, nn.RMSNorm)


class Prunable(NamedTuple):
    """The prunable weights of a network.

    Attributes:
        names: parameter names, in the order in which the network registers them.
        outputs: names of the output layers' weights, prunable or not.
        spared: name of every other parameter → why it is none.
    """

    names: tuple[str, ...]
    outputs: tuple[str, ...]
    spared: Mapping[str, str]


def prunable_weights(model: nn.Module) -> list[str]:
    """Names of the trained weight matrices and kernels of any module.

    Biases and normalisation are left out, and so are frozen and complex parameters. A parameter
    shared by several modules is named once.

    Raises:
        UsageError: a trained weight is computed from other parameters, as by weight normalisation,
            so that it is no parameter that could be pruned.
    """
    return [
        name
        for name, weight in _weight_matrices(model).items()
        if weight.requires_grad and not weight.is_complex()
    ]


def find_prunable(
    model: nn.Module,
    example: Tensor,
    *,
    prune_classifier: bool = True,
    prune_only: Sequence[str] = (),
    prune_except: Sequence[str] = (),
) -> Prunable:
    """The weights of ``model`` that an experiment prunes.

    Args:
        model: the network; it is left as it was.
        example: inputs on which it can run, which shows the output layers.
        prune_classifier: whether the output layer is among them.
        prune_only: patterns, such as ``encoder.*``, of the names of those that are; empty means
            all.
        prune_except: patterns of the names of those that are not.

    Raises:
        UsageError: as :func:`prunable_weights`; or a pattern matches no weight.
    """
    candidates = prunable_weights(model)
    outputs = output_weights(model, example)
    for option, patterns in (("prune_only", prune_only), ("prune_except", prune_except)):
        _require_matches(option, patterns, candidates, type(model).__name__)
    matrices = _weight_matrices(model)
    spared: dict[str, str] = {}
    for name, parameter in model.named_parameters():
        if name not in candidates:
            spared[name] = _why_not(name, parameter, model, matrices)
        elif not prune_classifier and name in outputs:
            spared[name] = "output layer, which prune_classifier leaves out"
        elif prune_only and not _matches(name, prune_only):
            spared[name] = "not named by prune_only"
        elif _matches(name, prune_except):
            spared[name] = "named by prune_except"
    return Prunable(tuple(name for name in candidates if name not in spared), outputs, spared)


def require_shapes(model: nn.Module) -> None:
    """Make sure that all parameters and buffers have a shape.

    Raises:
        UsageError: one has none, as in lazy modules that were not called yet.
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise UsageError(
                f"{name} of {type(model).__name__} has no shape, as in lazy modules before they "
                "are called: have the network call them when it is made, on zeros of its "
                "input_shape"
            )


def output_weights(model: nn.Module, example: Tensor | None = None) -> tuple[str, ...]:
    """Names of the weights of the output layers, of which a network with several heads has several.

    Whether they are trained or frozen makes no difference. A network may say which it is
    (:class:`.NamesOutputLayer`); else they are those on whose results the output depends without
    going through another layer; and without an example the last weight that the network registers.
    A weight that is shared goes by the first of its names.

    Args:
        model: the network; it is left as it was.
        example: inputs on which it can run.
    """
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    if (says := declared(model, NamesOutputLayer)) is not None:
        return (first[id(model.get_submodule(says.output_layer).weight)],)
    every = _weight_matrices(model, shared=True)
    if example is not None and (found := _last_used(model, example, list(every.values()))):
        return tuple(dict.fromkeys(first[id(weight)] for weight in found))
    return tuple(first[id(weight)] for weight in list(every.values())[-1:])


def weight_class(model: nn.Module, name: str) -> str:
    """The class of weights to which the parameter ``name`` belongs (See et al. 2016).

    It is what the network declares (:class:`.NamesWeightClasses`), else the name itself.
    """
    says = declared(model, NamesWeightClasses)
    return name if says is None else says.weight_classes.get(name, name)


def is_kind(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module is of one of some kinds; what GPT-2 calls Conv1D is an ``nn.Linear`` too."""
    return isinstance(module, kinds) or (nn.Linear in kinds and is_conv1d(module))


def outputs_first(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of prunable weights' shapes, those that have their inputs first turned round.

    Doing it twice gives what there was.

    Args:
        model: the network.
        tensors: by parameter names.
    """
    turned = transposed_weights(model)
    parameters = dict(model.named_parameters()) if turned else {}
    return {
        name: tensor.transpose(0, 1) if turned and id(parameters[name]) in turned else tensor
        for name, tensor in tensors.items()
    }


def _last_used(
    model: nn.Module, example: Tensor, weights: Sequence[nn.Parameter]
) -> list[nn.Parameter]:
    """Those of ``weights`` that the outputs depend on without going through another layer.

    The network is run with its graph cut behind every layer. What the outputs still depend on are
    weights that are used behind the last cut, as an embedding that serves as output layer too, or
    else the layers at the last cuts.
    """
    wanted = {id(weight) for weight in weights}
    layers = [
        (module, own)
        for module in model.modules()
        if (own := [p for p in module.parameters(recurse=False) if id(p) in wanted])
        # One that has layers inside is not a layer, but what is made of them.
        and not any(id(p) in wanted for child in module.children() for p in child.parameters())
    ]
    cuts: list[tuple[Tensor, list[nn.Parameter]]] = []

    def cut(tensor: Tensor, own: list[nn.Parameter]) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        leaf = tensor.detach().requires_grad_()
        cuts.append((leaf, own))
        return leaf.clone()  # which the network may change in place

    with evaluation_mode(model), torch.enable_grad(), ExitStack() as stack:
        for module, own in layers:

            def behind(_: Any, __: Any, output: Any, own: list[nn.Parameter] = own) -> Any:
                return _mapped(output, lambda tensor: cut(tensor, own))

            stack.callback(module.register_forward_hook(behind).remove)
        outputs: list[Tensor] = []
        _mapped(model(example), outputs.append)
        reached = [each.sum() for each in outputs if each.requires_grad]
        sources = [*(leaf for leaf, _ in cuts), *(each for each in weights if each.requires_grad)]
        if not reached or not sources:
            return []
        slopes = torch.autograd.grad(sum(reached, torch.zeros(())), sources, allow_unused=True)
    used = [source for source, slope in zip(sources, slopes, strict=True) if slope is not None]
    direct = [each for each in used if isinstance(each, nn.Parameter)]
    at_cuts = [weight for leaf, own in cuts if any(leaf is each for each in used) for weight in own]
    return direct or at_cuts


def _mapped(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """What a module gives, with the function's results in place of its tensors."""

    def of_leaf(leaf: Any) -> Any:
        if isinstance(leaf, PackedSequence):
            return leaf._replace(data=function(leaf.data))
        return function(leaf) if isinstance(leaf, Tensor) else leaf

    return tree_map(of_leaf, value, is_leaf=lambda part: isinstance(part, PackedSequence))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns is the parameter's name or that of its module."""
    names = (name, name.rpartition(".")[0])
    return any(fnmatchcase(each, pattern) for each in names for pattern in patterns)


def _require_matches(
    option: str, patterns: Sequence[str], names: Sequence[str], network: str
) -> None:
    for pattern in patterns:
        if not any(_matches(name, [pattern]) for name in names):
            more = ", …" if names[4:] else ""
            raise UsageError(
                f"{option}: {pattern!r} is not allowed: it matches none of the prunable weights of "
                f"{network}: {', '.join(names[:4])}{more}"
            )


def _why_not(
    name: str, parameter: nn.Parameter, model: nn.Module, matrices: Mapping[str, nn.Parameter]
) -> str:
    """Why a parameter is no trained weight matrix or kernel."""
    if name in matrices:
        return "complex" if parameter.requires_grad else "frozen"
    if isinstance(model.get_submodule(name.rpartition(".")[0]), _NORMALISATION):
        return "normalisation"
    return "its name has no 'weight'" if parameter.ndim >= 2 else "no matrix or kernel"


def _weight_matrices(model: nn.Module, *, shared: bool = False) -> dict[str, nn.Parameter]:
    """Weight matrices and kernels, trained or frozen, but not those of normalisation.

    With ``shared`` those that several modules use are there under each of their names.
    """
    require_shapes(model)
    for name, module in model.named_modules():
        _refuse_computed(name, module)
    return {
        name: parameter
        for name, parameter in model.named_parameters(remove_duplicate=not shared)
        if parameter.ndim >= 2
        and "weight" in name.rpartition(".")[2]
        and not isinstance(model.get_submodule(name.rpartition(".")[0]), _NORMALISATION)
    }


def _refuse_computed(name: str, module: nn.Module) -> None:
    """Refuse a module that computes a weight matrix from other, trained parameters.

    Pruning those is not pruning the weight: where a whole row of them is zero, its normalised
    direction is not a number.
    """
    for tensor, remove, sources in _computed(module):
        is_trained = any(each.requires_grad for each in sources)
        if "weight" in tensor and getattr(module, tensor).ndim >= 2 and is_trained:
            kind = type(module).__name__.removeprefix("Parametrized")
            raise UsageError(
                f"{tensor} of the {kind} {name!r} is not prunable: it is computed "
                f"from other parameters, as weight normalisation does; make it a plain one by "
                f"{remove}"
            )


def _computed(module: nn.Module) -> Iterator[tuple[str, str, list[nn.Parameter]]]:
    """Tensors that a module computes, each with what ends that and the parameters it is made of."""
    own = list(module.parameters(recurse=False))
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            yield hook.name, "torch.nn.utils.remove_weight_norm(module)", own
        elif isinstance(hook, SpectralNorm):
            yield hook.name, "torch.nn.utils.remove_spectral_norm(module)", own
        elif isinstance(hook, BasePruningMethod):
            yield (
                hook._tensor_name,
                f"torch.nn.utils.prune.remove(module, '{hook._tensor_name}')",
                own,
            )
    if is_parametrized(module):
        remove = "torch.nn.utils.parametrize.remove_parametrizations(module, '{}')"
        for tensor, parametrised in cast("nn.ModuleDict", module.parametrizations).items():
            yield tensor, remove.format(tensor), list(parametrised.parameters())
