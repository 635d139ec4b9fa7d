"""What is pruned: scores, allocations, structures, schedules, recoveries, each a plug-in."""

from .allocation import ALLOCATIONS, Allocation, Global, Uniform
from .context import Context, evaluation_mode, output_weight, prunable_weights
from .gradient import GlobalGradientMagnitude, LayerGradientMagnitude
from .magnitude import LAMP, GlobalMagnitude, LayerMagnitude, StructuredL1
from .masks import MaskedWeights, Masks, collapsed, full_masks, keep_largest, kept
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
    "LAMP",
    "RECOVERIES",
    "SCHEDULES",
    "STRATEGIES",
    "STRUCTURES",
    "Allocation",
    "Context",
    "Cubic",
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
    "Unstructured",
    "collapsed",
    "evaluation_mode",
    "full_masks",
    "keep_largest",
    "kept",
    "output_weight",
    "prunable_weights",
    "register",
]
