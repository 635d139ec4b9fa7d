"""Recipes: how a network is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..errors import UsageError
from .settings import PenaltyComponent, Settings


class Recipe(Settings):
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
