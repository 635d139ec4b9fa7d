"""The experiment: everything that can change a result, as plain, checked, frozen data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from ..errors import UsageError
from ..registry import Component
from ..results.record import MOST_THREADS
from ..results.targets import TARGET_NAMES, TARGETS, TargetKind, given
from .recipe import FineTuning, Pretraining
from .settings import (
    DatasetComponent,
    InitialisationComponent,
    MetricComponent,
    ModelComponent,
    RecoveryComponent,
    ScheduleComponent,
    Settings,
    StrategyComponent,
    TimingComponent,
)

if TYPE_CHECKING:
    from ..strategies import Recovery, Strategy

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


def _device(value: object) -> object:
    """The device that ``auto`` means here; another one as it is."""
    if value in ("cpu", "cuda", "mps"):
        return value
    if value != "auto":
        raise ValueError("give auto, cpu, cuda or mps")
    from torch import backends, cuda

    return "cuda" if cuda.is_available() else "mps" if backends.mps.is_available() else "cpu"


class _Method(Settings):
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
