"""The experiment: everything that can change a result, as plain, checked, frozen data.

Components (data set, model, strategy, …) are held by name and only looked up when an experiment is
made, so that this module, and with it the command line's help, loads without torch.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import to_jsonable_python

from ..errors import UsageError
from ..registry import Component
from ..results.record import MOST_THREADS
from ..results.targets import TARGET_NAMES, TARGETS, TargetKind, given

if TYPE_CHECKING:
    from ..strategies import Recovery, Strategy


def _lookup(package: str, registry: str) -> BeforeValidator:
    """Look a component up in the registry of that name in one of our packages."""

    def component(value: object) -> Component[Any]:
        if isinstance(value, Component):
            return value
        home = import_module(f"..{package}", __package__)
        found: Component[Any] = getattr(home, registry).component(value)
        return found

    return BeforeValidator(component)


_written = PlainSerializer(str, return_type=str)

# A field of these types holds a Component, and is given one, an instance, a class, or a text; Any
# says both to a type checker.
DatasetComponent = Annotated[Any, _lookup("datasets", "DATASETS"), _written]
ModelComponent = Annotated[Any, _lookup("models", "MODELS"), _written]
StrategyComponent = Annotated[Any, _lookup("strategies", "STRATEGIES"), _written]
ScheduleComponent = Annotated[Any, _lookup("strategies", "SCHEDULES"), _written]
RecoveryComponent = Annotated[Any, _lookup("strategies", "RECOVERIES"), _written]
TimingComponent = Annotated[Any, _lookup("strategies", "TIMINGS"), _written]
PenaltyComponent = Annotated[Any, _lookup("strategies", "PENALTIES"), _written]
InitialisationComponent = Annotated[Any, _lookup("models", "INITIALISATIONS"), _written]
MetricComponent = Annotated[Any, _lookup("metrics", "METRICS"), _written]


STANDARD_MEASUREMENTS = ("Size", "Flops", "Storage", "Latency")
"""What a cell measures beside quality, unless it is told to leave some of it out."""


def _measurements(chosen: tuple[Component[Any], ...]) -> tuple[Component[Any], ...]:
    """The chosen measurements in their order, which changes no result."""
    names = [each.reference for each in chosen]
    for each, name in zip(chosen, names, strict=True):
        if name not in STANDARD_MEASUREMENTS:
            raise UsageError(
                f"measurements: {each} is not allowed: choose among "
                f"{', '.join(STANDARD_MEASUREMENTS)}; any other metric can stand under metrics"
            )
        if names.count(name) > 1:
            raise UsageError(f"measurements: {name} is given more than once")
    if "Size" not in names:
        raise UsageError(
            f"measurements: {', '.join(names) or 'nothing'} is not allowed: Size is always needed"
        )
    return tuple(sorted(chosen, key=lambda each: STANDARD_MEASUREMENTS.index(each.reference)))


Measurements = Annotated[
    tuple[MetricComponent, ...], Field(strict=False), AfterValidator(_measurements)
]


@lru_cache
def _defaults(settings: type[BaseModel]) -> dict[str, Any]:
    """The defaults of those settings that have one, as plain data."""
    return {
        name: to_jsonable_python(field.default)
        for name, field in settings.model_fields.items()
        if not field.is_required()
    }


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        allow_inf_nan=False,
    )

    @field_validator(
        "optimizer",
        "learning_rate_schedule",
        "precision",
        "finetuned_network",
        "device",
        mode="before",
        check_fields=False,
    )
    @classmethod
    def _in_any_case(cls, value: object, info: ValidationInfo) -> object:
        """A word as the setting spells it, whose letters may be large or small."""
        if not isinstance(value, str):
            return value
        words = ("auto", *get_args(cls.model_fields[str(info.field_name)].annotation))
        return next((word for word in words if word.lower() == value.lower()), value)

    def canonical(self) -> dict[str, Any]:
        """The settings as plain data, without those that have their default value."""
        return self._unusual(self.model_dump(mode="json"))

    def _unusual(self, dumped: Mapping[str, Any]) -> dict[str, Any]:
        """Of all settings as plain data those that do not have their default value."""
        defaults, settings = _defaults(type(self)), {}
        for name, value in dumped.items():
            if name in defaults and value == defaults[name]:
                continue
            own = getattr(self, name)
            if not isinstance(own, _Settings):
                settings[name] = value
            elif inner := own._unusual(value):
                settings[name] = inner
        return settings

    def identified(self) -> dict[str, Any]:
        """As :meth:`canonical`, a component from a user's file by its contents, not by its path."""
        return self._identified(self.canonical())

    def _identified(self, settings: dict[str, Any]) -> dict[str, Any]:
        for name in settings:
            value = getattr(self, name)
            if isinstance(value, _Settings):
                settings[name] = value._identified(settings[name])
            elif isinstance(value, Component):
                settings[name] = value.identity
            elif isinstance(value, tuple) and any(isinstance(each, Component) for each in value):
                settings[name] = [each.identity for each in value]
        return settings

    def components(self) -> Iterator[tuple[str, Component[Any]]]:
        """All components in the settings and those within them, each with its place.

        Of several in one place, such as metrics of one name, the later ones have a number.
        """
        counts: Counter[str] = Counter()
        for place, component in self._components():
            counts[place] += 1
            yield place if counts[place] == 1 else f"{place} {counts[place]}", component

    def _components(self) -> Iterator[tuple[str, Component[Any]]]:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, _Settings):
                yield from ((f"{name}.{inner}", each) for inner, each in value.components())
            elif isinstance(value, Component):
                yield from value.parts(name)
            elif isinstance(value, tuple):
                for each in value:
                    if isinstance(each, Component):
                        yield from each.parts(f"{name}.{each.factory.__name__}")


def _device(value: object) -> object:
    """The device that ``auto`` means here; another one as it is."""
    if value in ("cpu", "cuda", "mps"):
        return value
    if value != "auto":
        raise ValueError("give auto, cpu, cuda or mps")
    from torch import backends, cuda

    return "cuda" if cuda.is_available() else "mps" if backends.mps.is_available() else "cpu"


class Recipe(_Settings):
    """How a network is trained."""

    epochs: int = Field(default=10, ge=1, description="passes over the training split")
    batch_size: int = Field(default=64, ge=1, description="examples in a training step")
    optimizer: Literal["SGD", "Adam", "AdamW"] = Field(
        default="Adam", description="the optimizer, with torch's defaults where nothing is said"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="learning rate at the start")
    learning_rate_schedule: Literal["constant", "cosine", "linear", "step"] = Field(
        default="constant",
        description="cosine and linear fall to zero over the recipe's steps, step divides by 10 at "
        "times",
    )
    learning_rate_drops: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(strict=False)
    ] = Field(
        default=(0.25, 0.5, 0.75),
        description="fractions of the recipe's steps after which the schedule step divides by 10",
    )
    warmup_epochs: float = Field(
        default=0.0,
        ge=0,
        description="epochs at the start in which the learning rate rises to the schedule's",
    )
    momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum of SGD")
    nesterov: bool = Field(default=False, description="whether the momentum of SGD is Nesterov's")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay of the optimizer")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of each label spread over all classes"
    )
    gradient_clipping: float | None = Field(
        default=None,
        gt=0,
        description="the largest norm of all gradients together, those of pruned weights left out",
    )
    accumulation: int = Field(
        default=1, ge=1, description="parts of a batch whose gradients add up, to save memory"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="type in which matrix products and convolutions are computed in training",
    )
    compiled: bool = Field(default=False, description="whether torch.compile runs the training")
    weight_averaging: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of a moving average of the weights, which is validated and kept",
    )
    penalty: PenaltyComponent | None = Field(
        default=None, description="added to the loss to make weights small or zero, as L1"
    )

    @model_validator(mode="after")
    def _drops_need_steps(self) -> Recipe:
        drops = type(self).model_fields["learning_rate_drops"]
        if self.learning_rate_drops != drops.default and self.learning_rate_schedule != "step":
            raise UsageError(
                f"learning_rate_drops: {list(self.learning_rate_drops)} is not allowed: only the "
                f"schedule step has drops, and this is {self.learning_rate_schedule}"
            )
        return self

    @model_validator(mode="after")
    def _momentum_needs_sgd(self) -> Recipe:
        if self.momentum and self.optimizer != "SGD":
            raise UsageError(
                f"momentum: {self.momentum} is not allowed: only the optimizer SGD takes one, "
                f"and this is {self.optimizer}"
            )
        if self.nesterov and not self.momentum:
            raise UsageError("nesterov: True is not allowed: it needs a momentum, and that is 0")
        return self

    @model_validator(mode="after")
    def _warmup_fits(self) -> Recipe:
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise UsageError(
                f"warmup_epochs: {self.warmup_epochs:g} is not allowed: the recipe has only "
                f"{self.epochs} epochs"
            )
        return self


class Pretraining(Recipe):
    """How the dense network is trained, before anything is pruned."""

    epochs: int = Field(
        default=10,
        ge=0,
        description="passes over the training split; 0 takes the initial weights as trained",
    )


class FineTuning(Recipe):
    """How the network is trained after each round of pruning."""

    epochs: int = Field(default=2, ge=1, description="passes over the training split, each round")


class _Method(_Settings):
    """What comes first in an experiment."""

    dataset: DatasetComponent = Field(description="what is learned")
    model: ModelComponent = Field(description="the network")
    strategy: StrategyComponent = Field(description="the pruning method")


_targets: dict[str, Any] = {
    kind.name: (
        float | None,
        Field(default=None, description=kind.description, **kind.bounds),
    )
    for kind in TARGETS
}
# Any: a type checker cannot know a class whose fields are those of a tuple.
_WithTarget: Any = create_model("_WithTarget", __base__=_Method, __module__=__name__, **_targets)


class Experiment(_WithTarget):  # type: ignore[misc]
    """One run: train → (prune → fine-tune) × K → measure.

    How far to prune is said by exactly one of the settings in
    :data:`prunebench.results.targets.TARGETS`: ``compression``, ``sparsity``, ``channel_sparsity``
    or ``speedup``.

    Raises:
        UsageError: a component does not exist or has a wrong argument, or settings contradict
            each other.
        pydantic.ValidationError: a value is missing, of the wrong type, or out of range.
    """

    rounds: int = Field(default=1, ge=1, description="how often to prune and recover (K)")
    schedule: ScheduleComponent = Field(
        default="Geometric",
        description="how the rounds divide the pruning among them",
    )
    recovery: RecoveryComponent = Field(
        default="FineTune",
        description="the weights from which training goes on after pruning",
    )
    timing: TimingComponent = Field(
        default="BetweenTrainings",
        description="whether the rounds come before trainings or within one",
    )
    start_epoch: int | None = Field(
        default=None,
        ge=0,
        description="epochs of pretraining after which pruning begins; 0 prunes at initialisation, "
        "null the trained network",
    )
    initialisation: InitialisationComponent = Field(
        default="Default", description="the random weights from which pretraining begins"
    )
    calibration: DatasetComponent | None = Field(
        default=None,
        description="the data set whose training split strategies look at to prune, of examples "
        "like those of dataset; null is dataset itself",
    )
    prune_classifier: bool = Field(
        default=True, description="false leaves the output layer dense, as ShrinkBench does"
    )
    prune_only: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(),
        description="patterns of the names of the weights or layers to prune, such as encoder.*; "
        "none means all",
    )
    prune_except: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="patterns of the names of weights or layers to leave dense"
    )
    pretraining: Pretraining = Field(
        default=Pretraining(), description="how the dense network is trained"
    )
    finetuning: FineTuning = Field(
        default=FineTuning(), description="how the network is trained after each pruning"
    )
    finetuned_network: Literal["masked", "shrunk"] = Field(
        default="masked",
        description="what is fine-tuned: the network with its zeros, or the smaller one without "
        "the channels that are gone",
    )
    least_dense_quality: float | None = Field(
        default=None,
        ge=0,
        description="quality on the validation split, accuracies as fractions, that the dense "
        "network must reach for a cell not to fail; null asks of a trained one for a twentieth of "
        "the way from always giving the most frequent answer to being right always",
    )
    metrics: Annotated[tuple[MetricComponent, ...], Field(strict=False)] = Field(
        default=(), description="metrics to record beside the task's own"
    )
    measurements: Measurements = Field(
        default=STANDARD_MEASUREMENTS,
        description="what else is measured: Size always, Flops, Storage and Latency where they are "
        "named",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="source of everything random")
    device: Annotated[Literal["cpu", "cuda", "mps"], BeforeValidator(_device)] = Field(
        default="cpu",
        description="what computes; auto is the GPU that is there, else the CPU",
    )
    threads: int = Field(
        default=1, ge=1, le=MOST_THREADS, description="CPU threads; bits of the result depend on it"
    )

    @model_validator(mode="after")
    def _settings_agree(self) -> Experiment:
        if len(targets := given(vars(self))) != 1:
            these = " and ".join(kind.name for kind, _ in targets)
            these = f"{these} are" if targets else "none is"
            raise UsageError(f"give exactly one of {', '.join(TARGET_NAMES)}; {these} given")
        recovery, epochs = self.recovery.create(), self.pretraining.epochs
        if recovery.epochs_needed > epochs:
            raise UsageError(
                f"recovery: {self.recovery} is not allowed: pretraining has only {epochs} epochs"
            )
        if self.start_epoch is not None and self.start_epoch > epochs:
            raise UsageError(
                f"start_epoch: {self.start_epoch} is not allowed: pretraining has only {epochs} "
                "epochs"
            )
        if recovery.draws_weights and self._loaded:
            raise UsageError(
                f"recovery: {self.recovery} is not allowed: the weights of the {self._loaded} are "
                "not drawn at random"
            )
        self._check_training(self.strategy.create(), recovery)
        return self

    def _check_training(self, strategy: Strategy, recovery: Recovery) -> None:
        """What happens in training needs a training, and only one thing can happen in it."""
        gradual = self.timing.create().within_training
        removes, training = strategy.capabilities
        by_own_rules = training == "own"
        if not recovery.trains and (by_own_rules or gradual):
            raise UsageError(
                f"recovery: {self.recovery} is not allowed: "
                f"{self.strategy if by_own_rules else self.timing} prunes while the network trains"
            )
        if by_own_rules and gradual:
            raise UsageError(
                f"timing: {self.timing} is not allowed: {self.strategy} itself says when it "
                "prunes in training"
            )
        name = "finetuning" if recovery.schedule_epoch is None else "pretraining"
        averaging = getattr(self, name).weight_averaging
        if averaging is not None and (gradual or by_own_rules or removes == "nothing"):
            raise UsageError(
                f"{name}.weight_averaging: {averaging:g} is not allowed: "
                f"{self.timing if gradual else self.strategy} changes masks or weights in training "
                f"by its own rules, and {self.recovery} trains by the {name} recipe"
            )
        if removes == "channels" and by_own_rules:
            raise UsageError(
                f"strategy: {self.strategy} is not allowed: it prunes single weights while the "
                "network trains, and cannot remove CoupledChannels"
            )
        if self.finetuned_network == "shrunk" and (gradual or removes != "channels"):
            raise UsageError(
                "finetuned_network: shrunk is not allowed: it needs a strategy that removes whole "
                f"channels between trainings, with structure=CoupledChannels, and this is "
                f"{self.strategy} with timing {self.timing}"
            )
        if recovery.adapts and (gradual or by_own_rules or removes == "nothing"):
            other = self.timing if gradual else self.strategy
            raise UsageError(
                f"recovery: {self.recovery} is not allowed: {other} trains the network by rules of "
                "its own"
            )
        if recovery.adapts and self.finetuned_network == "shrunk":
            raise UsageError(
                f"recovery: {self.recovery} is not allowed: it trains the network under masks, and "
                "finetuned_network is shrunk"
            )
        if recovery.adapts and self.finetuning.penalty is not None:
            raise UsageError(
                f"recovery: {self.recovery} is not allowed: the weights that finetuning.penalty "
                f"is of, {self.finetuning.penalty}, do not train"
            )
        if removes == "nothing" and recovery.goes_back:
            raise UsageError(
                f"recovery: {self.recovery} is not allowed: {self.strategy} adds gates to the "
                "network, which it did not have before"
            )

    @property
    def _loaded(self) -> str:
        """Where the first weights come from that are not drawn at random; else empty."""
        if not self.initialisation.factory.draws:
            return f"initialisation {self.initialisation}"
        pretrained = ("pretrained", True) in self.model.arguments
        return f"model {self.model}" if pretrained and str(self.initialisation) == "Default" else ""

    @property
    def trains_densely(self) -> bool:
        """Whether the dense network has been trained, here or before, and so must have learned."""
        return self.pretraining.epochs > 0 or bool(self._loaded)

    @property
    def target(self) -> tuple[TargetKind, float]:
        """How far to prune: the kind of target that is given, and its value."""
        return given(vars(self))[0]

    @cached_property
    def id(self) -> str:
        """The identity: 16 hex digits of a hash of all that can change the result.

        Defaults are left out, so that a setting added later gives no old run a new identity. Of a
        component from a user's own file the contents count, not the path.
        """
        return _digest(self.identified())

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> Experiment:
        """A copy with other settings, which has an identity of its own."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("id", None)
        return copied

    @property
    def pretraining_id(self) -> str:
        """The identity of the pretrained network: of what it depends on, and nothing else."""
        shared = ("dataset", "model", "initialisation", "pretraining", "seed", "device", "threads")
        settings = self.identified()
        return _digest({name: settings[name] for name in shared if name in settings})

    def revised(self, **settings: Any) -> Experiment:
        """The same but for some settings, which are checked as any are.

        Raises:
            ValidationError: they are not allowed.
        """
        own = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**own, **settings})

    @property
    def comparison(self) -> str:
        """Eight hex digits of all settings but those that rows of one comparison differ in."""
        rows = ("dataset", "model", "strategy", *TARGET_NAMES, "seed")
        settings = {name: v for name, v in self.identified().items() if name not in rows}
        return _digest(settings)[:8]

    @property
    def sources(self) -> dict[str, str]:
        """For each component from outside prunebench the SHA-256 of its file."""
        return {name: part.source for name, part in self.components() if part.source}


def _digest(settings: dict[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
