"""Changes of prunebench that moved results: which records were made before, and are stale.

An experiment's id says what is run and not by which version of the code, so that a change which
gives other numbers has to be named here. A record has the number of changes that there were when
it was made.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .record import Record

Settings = Mapping[str, Any]
"""Those of an experiment, as plain data."""


def _never(settings: Settings) -> bool:
    return False


@dataclass(frozen=True)
class Change:
    """A change after which some experiments give other numbers.

    Attributes:
        summary: what is different now.
        concerns: whether a record that was made before would, or might, be another one today.
        dense: whether the dense network of an experiment that was trained before would, or might,
            be another one; most changes move none.
    """

    summary: str
    concerns: Callable[[Record], bool]
    dense: Callable[[Settings], bool] = _never


def outdated_by(record: Record) -> list[Change]:
    """The changes since a record was made that concern it; none of a run that failed."""
    if not record.finished:
        return []
    return [change for change in CHANGES[record.revision :] if change.concerns(record)]


def moved_dense(experiment: Settings, revision: int) -> list[Change]:
    """The changes that concern the dense network of an experiment, trained at a revision."""
    return [change for change in CHANGES[revision:] if change.dense(experiment)]


def staleness(records: Iterable[Record]) -> list[str]:
    """A sentence for each change that makes some of ``records`` stale."""
    counts = Counter(change.summary for record in records for change in outdated_by(record))
    return [
        f"made before a change: {summary} ({count} record{'s' * (count > 1)})"
        for summary, count in counts.items()
    ]


def _recovering(record: Record) -> Mapping[str, Any]:
    """The recipe by which the pruned network is trained; empty where it is not."""
    recovery = str(record.experiment["recovery"])
    if recovery.startswith("NoRecovery"):
        return {}
    rewinds = recovery.startswith("RewindLearningRate")
    recipe: Mapping[str, Any] = record.experiment["pretraining" if rewinds else "finetuning"]
    return recipe


def _trained_by(record: Record) -> list[Mapping[str, Any]]:
    """The recipes by which anything is trained."""
    recipes = (record.experiment["pretraining"], _recovering(record))
    return [recipe for recipe in recipes if recipe.get("epochs")]


def _clips(record: Record) -> bool:
    """Whether gradients are clipped while weights are pruned."""
    return _recovering(record).get("gradient_clipping") is not None


def _is_no_plain_network(record: Record) -> bool:
    return not _is_plain(record.experiment)


def _is_plain(experiment: Settings) -> bool:
    """Whether the network is one of ours of convolutions and linear layers alone."""
    plain = ("LeNet", "Perceptron", "ResNetSmall", "Cifar", "WideResNet")
    return str(experiment["model"]).startswith(plain)


def _may_attend(record: Record) -> bool:
    """Whether there may be attention, other than that of our translator, which was counted well."""
    ours = str(record.experiment["model"]).startswith("Seq2SeqLSTM")
    return _is_no_plain_network(record) and not ours


def _chosen_by(*names: str) -> Callable[[Record], bool]:
    """Whether a component of one of these names is in the strategy."""
    return lambda record: any(name in str(record.experiment["strategy"]) for name in names)


def _reads_sequences(record: Record) -> bool:
    observing = _chosen_by("ChannelTaylor", "ActivationGradient", "ActivationChange", "Wanda")
    return observing(record) and _is_no_plain_network(record)


def _spares_the_classifier(record: Record) -> bool:
    return not record.experiment.get("prune_classifier", True) and _is_no_plain_network(record)


def _is_of_others(record: Record) -> bool:
    """Whether the network is of a library or of a user."""
    return _has_model_of_others(record.experiment)


def _has_model_of_others(experiment: Settings) -> bool:
    return any(mark in str(experiment["model"]) for mark in ("/", ".py", ":"))


def _draws(experiment: Settings) -> bool:
    """Whether an initialisation other than the network's own was drawn."""
    kept = ("None", "Default", "FromFile")
    return not str(experiment.get("initialisation")).startswith(kept)


def _rounds(record: Record) -> bool:
    return "Int8Weights" in str(record.experiment.get("metrics"))


def _penalises_groups(experiment: Settings, *recipes: str) -> bool:
    """Whether one of the recipes has the penalty of groups, of layers that may be transposed."""
    penalised = any("GroupLasso" in str(experiment.get(recipe)) for recipe in recipes)
    return penalised and not _is_plain(experiment)


def _averaged_under_moving_masks(record: Record) -> bool:
    """Whether averages of weights brought some back that were pruned meanwhile."""
    experiment = record.experiment
    averaged = experiment["pretraining"].get("weight_averaging") is not None
    rewinds = str(experiment["recovery"]).startswith("RewindLearningRate")
    nonzero = record.final.get("prunable_nonzero") or 0
    return averaged and rewinds and nonzero > record.rounds[-1].kept


def _may_skip_steps(record: Record) -> bool:
    """Whether a training in float16 remembers or learns something beside the weights."""
    learning = _chosen_by("RigL", "SET", "STR", "StraightThrough", "HardConcrete", "Movement")
    half = [each for each in _trained_by(record) if each.get("precision") == "float16"]
    remembers = any(map(_has_momentum_in_float16, half))
    return remembers or (_recovering(record) in half and learning(record))


def _penalises_gates_by_parts(record: Record) -> bool:
    """Whether gates with a penalty learn from losses that are multiplied by anything."""
    strategy, recipe = str(record.experiment["strategy"]), _recovering(record)
    penalised = "FeatureBoosting" in strategy and "penalty=0.0)" not in strategy
    multiplied = recipe.get("accumulation", 1) > 1 or recipe.get("precision") == "float16"
    return penalised and multiplied


def _has_rounds_that_remove_nothing(record: Record) -> bool:
    """Whether rounds that keep all weights have the densities of a schedule."""
    differ = len({each.density for each in record.rounds}) > 1
    return differ and record.rounds[-1].kept == record.final.get("prunable_parameters")


def _has_momentum_in_float16(recipe: Settings) -> bool:
    return recipe.get("precision") == "float16" and bool(recipe.get("momentum"))


def _averages_half_precision(record: Record) -> bool:
    """Whether weights are averaged that are in half precision themselves."""
    return any(_averages_half(record.experiment, each) for each in _trained_by(record))


def _averages_half(experiment: Settings, recipe: Settings) -> bool:
    return recipe.get("weight_averaging") is not None and "float16" in str(experiment["model"])


def _begins_from_averages(record: Record) -> bool:
    """Whether pruning begins at, or goes back to, an epoch of a training of averaged weights."""
    experiment = record.experiment
    averaged = experiment["pretraining"].get("weight_averaging") is not None
    rewinds = re.search(r"\bRewind\(epoch=[1-9]", str(experiment["recovery"])) is not None
    return averaged and ((experiment.get("start_epoch") or 0) > 0 or rewinds)


def _loads_weights(record: Record) -> bool:
    """Whether all seeds begin with the same weights, and this is another than the first seed."""
    experiment = record.experiment
    untrained = experiment["pretraining"].get("epochs") == 0 and experiment["seed"] != 0
    loaded = "FromFile" in str(experiment.get("initialisation"))
    return untrained and (loaded or "pretrained=True" in str(experiment["model"]))


def _is_users(experiment: Settings) -> bool:
    """Whether the network or its data are a user's."""
    return any(":" in str(experiment[part]) for part in ("dataset", "model"))


def _may_have_groups(record: Record) -> bool:
    return "MobileNet" in str(record.experiment["model"]) or _is_of_others(record)


def _misses_channels(record: Record) -> bool:
    """Whether channels go of a network in which some were not found; of ours there was one."""
    ours = "MobileNet" in str(record.experiment["model"])
    return _chosen_by("CoupledChannels")(record) and (ours or _is_of_others(record))


def _may_keep_too_few_channels(record: Record) -> bool:
    """Whether channels go of which some are to stay, for which there may have been no room."""
    strategy = str(record.experiment["strategy"])
    least = re.search(r"\bminimum(_density=|=([2-9]|1\d))", strategy) is not None
    return _chosen_by("CoupledChannels")(record) and least


def _may_normalise_before(record: Record) -> bool:
    return str(record.experiment["model"]).startswith("WideResNet") or _is_of_others(record)


def _draws_units(record: Record) -> bool:
    name, _, arguments = str(record.experiment["strategy"]).partition("(")
    units = ("Filters", "Channels", "Block")
    return name in ("Random", "LayerRandom") and any(each in arguments for each in units)


def _observes_tokens(record: Record) -> bool:
    """Whether a method of theirs looks at sequences of more than one token."""
    name = str(record.experiment["strategy"]).partition("(")[0]
    return name in ("OBS", "WoodFisher") and _is_no_plain_network(record)


def _may_call_einsum(record: Record) -> bool:
    """Whether the network is a user's, or one of another library's that may call torch.einsum."""
    model = str(record.experiment["model"])
    if model.startswith(("torchvision/", "timm/")):
        families = ("maxvit", "maxxvit", "coatn", "convit", "mvit", "samvit")
        return any(each in model for each in families)
    return _is_of_others(record)


def _may_keep_what_it_computed(record: Record) -> bool:
    """Whether the network is a user's, or of a family that keeps parts of weights in evaluation."""
    model = str(record.experiment["model"])
    if model.startswith(("torchvision/", "timm/", "transformers/")):
        families = ("levit", "efficientformer", "efficientvit_m", "tiny_vit")
        return any(each in model.lower() for each in families)
    return _is_of_others(record)


def _has_histograms_without_some_weights(record: Record) -> bool:
    """Whether a histogram of the final weights lacks some, as it lacks those that are NaN."""
    counted = {row.name: sum(row.recovered) for row in record.distributions}
    return any(counted.get(each.name, each.nonzero) != each.nonzero for each in record.layers)


CHANGES: tuple[Change, ...] = (
    Change(
        "records have the epochs of trainings and the distributions of weights",
        lambda record: not record.distributions,
    ),
    Change("gradients of pruned weights do not count where gradients are clipped", _clips),
    Change("effective FLOPs are counted by the weight that each product uses", _may_attend),
    Change(
        "densities by layer meet the budget to the weight",
        _chosen_by("ERK", "Erdos", "UniformPlus", "Explicit", "RigL", "SET"),
    ),
    Change("examples are found wherever a network has them", _reads_sequences),
    Change("a frozen output layer stays dense", _spares_the_classifier),
    Change("a network that grew is measured against the dense one", _chosen_by("FeatureBoosting")),
    Change(
        "SynFlow sends no data and no normalisation through the network",
        lambda record: _chosen_by("SynFlow")(record) and _is_no_plain_network(record),
    ),
    Change(
        "channels of transposed convolutions are compared by what makes them",
        lambda record: _chosen_by("FPGM")(record) and _is_no_plain_network(record),
    ),
    Change(
        "SparseGPT computes in the precision of the weights, float32 at least",
        _chosen_by("SparseGPT"),
    ),
    Change(
        "seeds that begin with the same loaded weights are scored each for itself", _loads_weights
    ),
    Change(
        "units are drawn at random whatever their sizes",
        _draws_units,
    ),
    Change(
        "the inputs of a grouped convolution are those of its groups",
        lambda record: _chosen_by("RIA")(record) and _may_have_groups(record),
    ),
    Change("tokens are the examples of OBS and WoodFisher", _observes_tokens),
    Change(
        "a normalisation goes into a gate only where it follows the convolution",
        lambda record: (
            _chosen_by("FeatureBoosting", "BatchNormSlimming")(record)
            and _may_normalise_before(record)
        ),
    ),
    Change(
        "groups of a penalty are what makes an output in transposed layers too",
        lambda record: _penalises_groups(record.experiment, "pretraining", "finetuning"),
        lambda experiment: _penalises_groups(experiment, "pretraining"),
    ),
    Change(
        "FLOPs of convolutions with padding by name, and of products of tensors, are counted",
        _is_of_others,
    ),
    Change(
        "attention and layers with their inputs first are initialised and rounded as others are",
        lambda record: _is_of_others(record) and (_draws(record.experiment) or _rounds(record)),
        lambda experiment: _has_model_of_others(experiment) and _draws(experiment),
    ),
    Change(
        "channels are found whatever the memory format, and beside grouped transposed convolutions",
        _misses_channels,
    ),
    Change(
        "weights are not averaged in a training that changes masks", _averaged_under_moving_masks
    ),
    Change(
        "a step that float16 skips changes neither momentum nor what is learned beside weights",
        _may_skip_steps,
        lambda experiment: _has_momentum_in_float16(experiment["pretraining"]),
    ),
    Change(
        "networks whose gates open different shares of channels train apart",
        lambda record: record.stacked > 1 and _chosen_by("FeatureBoosting")(record),
    ),
    Change(
        "an epoch of a training that averages weights is the network that was validated after it",
        _begins_from_averages,
    ),
    Change(
        "averages of weights in half precision move",
        _averages_half_precision,
        lambda experiment: _averages_half(experiment, experiment["pretraining"]),
    ),
    Change("products by torch.einsum and multi_dot are counted to the last one", _may_call_einsum),
    Change(
        "a weight with a NaN in any of its states has no histograms",
        _has_histograms_without_some_weights,
    ),
    Change(
        "what flows into convolutions, and RIA's shares, are added up in float32",
        lambda record: (
            _chosen_by("Wanda", "RIA")(record) and "float16" in str(record.experiment["model"])
        ),
    ),
    Change(
        "an answer of a network that gives no numbers is never right, and none is certain",
        lambda record: "ZeroShot" in str(record.experiment.get("metrics")),
    ),
    Change(
        "what users' code draws at random, beside generators, is the same in every process",
        lambda record: bool(record.experiment.get("sources")),
        _is_users,
    ),
    Change(
        "channels too stay in each layer as many as the allocation says, or the target is refused",
        _may_keep_too_few_channels,
    ),
    Change(
        "what a network computes of its weights in evaluation is that of the weights it has then",
        _may_keep_what_it_computed,
    ),
    Change(
        "the penalty of gates counts as much with parts of batches and in float16",
        _penalises_gates_by_parts,
    ),
    Change(
        "rounds of a method that removes nothing have the density at which they are trained",
        _has_rounds_that_remove_nothing,
    ),
)
"""All changes so far, the oldest first; new ones are added at the end."""
