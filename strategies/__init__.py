"""What is pruned: scores, allocations, structures, schedules, recoveries, each a plug-in."""

from .allocation import ALLOCATIONS, ERK, Allocation, ErdosRenyi, Global, Layerwise, Uniform, Units
from .context import Context, output_weight, prunable_weights, weight_class
from .derivatives import gradients, hessian_product
from .gradient import GlobalGradientMagnitude, LayerGradientMagnitude
from .magnitude import LAMP, GlobalMagnitude, LayerMagnitude, StructuredL1
from .masks import MaskedWeights, Masks, collapsed, full_masks, keep_largest, kept
from .modes import batch_statistics, evaluation_mode, twice_differentiable
from .random import LayerRandom, Random
from .recovery import (
    RECOVERIES,
    FineTune,
    History,
    NoRecovery,
    Recovery,
    Reinitialise,
    Rewind,
    State,
)
from .schedule import SCHEDULES, Cubic, Geometric, Linear, OneShot, Schedule
from .strategy import STRATEGIES, Scores, Strategy, register
from .structure import STRUCTURES, Filters, Structure, Unstructured

__all__ = [
    "ALLOCATIONS",
    "ERK",
    "LAMP",
    "RECOVERIES",
    "SCHEDULES",
    "STRATEGIES",
    "STRUCTURES",
    "Allocation",
    "Context",
    "Cubic",
    "ErdosRenyi",
    "Filters",
    "FineTune",
    "Geometric",
    "Global",
    "GlobalGradientMagnitude",
    "GlobalMagnitude",
    "History",
    "LayerGradientMagnitude",
    "LayerMagnitude",
    "LayerRandom",
    "Layerwise",
    "Linear",
    "MaskedWeights",
    "Masks",
    "NoRecovery",
    "OneShot",
    "Random",
    "Recovery",
    "Reinitialise",
    "Rewind",
    "Schedule",
    "Scores",
    "State",
    "Strategy",
    "Structure",
    "StructuredL1",
    "Uniform",
    "Units",
    "Unstructured",
    "batch_statistics",
    "collapsed",
    "evaluation_mode",
    "full_masks",
    "gradients",
    "hessian_product",
    "keep_largest",
    "kept",
    "output_weight",
    "prunable_weights",
    "register",
    "twice_differentiable",
    "weight_class",
]
