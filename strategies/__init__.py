"""What is pruned: scores, allocations, structures, schedules, recoveries, each a plug-in."""

from .allocation import (
    ALLOCATIONS,
    ERK,
    Allocation,
    ClassBlind,
    ClassDistribution,
    ClassUniform,
    ErdosRenyi,
    Explicit,
    Global,
    Layerwise,
    Shuffled,
    Uniform,
    UniformPlus,
    Units,
)
from .context import Context, output_weight, prunable_weights, weight_class
from .curvature import CURVATURES, Curvature, EmpiricalFisher, Exact, GaussNewton, Hutchinson
from .derivatives import gradients, hessian_product
from .dynamic import SET, DynamicNetworkSurgery, RigL
from .gradient import GlobalGradientMagnitude, LayerGradientMagnitude
from .grasp import GraSP
from .learned import STR, HardConcrete, Movement, StraightThrough
from .magnitude import LAMP, GlobalMagnitude, LayerMagnitude, StructuredL1
from .masks import MaskedWeights, Masks, collapsed, full_masks, keep_largest, kept
from .modes import batch_statistics, evaluation_mode, twice_differentiable
from .obd import OBD, Fisher, LayerOBD
from .obs import OBS, WoodFisher
from .penalty import L1, L2, PENALTIES, GroupLasso, LInf, NormalisationScale, Penalty
from .random import LayerRandom, Random
from .recovery import (
    RECOVERIES,
    FineTune,
    History,
    LastRound,
    NoRecovery,
    Recovery,
    Reinitialise,
    Rewind,
    RewindLearningRate,
    State,
)
from .schedule import SCHEDULES, Cubic, Geometric, Linear, OneShot, Schedule
from .snip import SNIP
from .sparse_training import GradualTraining, ReparametrisedTraining, SparseTraining
from .strategy import STRATEGIES, Scores, Strategy, register
from .structure import NM, STRUCTURES, Block, Channels, Filters, Structure, Unstructured
from .synflow import SynFlow
from .timing import TIMINGS, BetweenTrainings, DuringTraining, Timing

__all__ = [
    "ALLOCATIONS",
    "CURVATURES",
    "ERK",
    "L1",
    "L2",
    "LAMP",
    "NM",
    "OBD",
    "OBS",
    "PENALTIES",
    "RECOVERIES",
    "SCHEDULES",
    "SET",
    "SNIP",
    "STR",
    "STRATEGIES",
    "STRUCTURES",
    "TIMINGS",
    "Allocation",
    "BetweenTrainings",
    "Block",
    "Channels",
    "ClassBlind",
    "ClassDistribution",
    "ClassUniform",
    "Context",
    "Cubic",
    "Curvature",
    "DuringTraining",
    "DynamicNetworkSurgery",
    "EmpiricalFisher",
    "ErdosRenyi",
    "Exact",
    "Explicit",
    "Filters",
    "FineTune",
    "Fisher",
    "GaussNewton",
    "Geometric",
    "Global",
    "GlobalGradientMagnitude",
    "GlobalMagnitude",
    "GraSP",
    "GradualTraining",
    "GroupLasso",
    "HardConcrete",
    "History",
    "Hutchinson",
    "LInf",
    "LastRound",
    "LayerGradientMagnitude",
    "LayerMagnitude",
    "LayerOBD",
    "LayerRandom",
    "Layerwise",
    "Linear",
    "MaskedWeights",
    "Masks",
    "Movement",
    "NoRecovery",
    "NormalisationScale",
    "OneShot",
    "Penalty",
    "Random",
    "Recovery",
    "Reinitialise",
    "ReparametrisedTraining",
    "Rewind",
    "RewindLearningRate",
    "RigL",
    "Schedule",
    "Scores",
    "Shuffled",
    "SparseTraining",
    "State",
    "StraightThrough",
    "Strategy",
    "Structure",
    "StructuredL1",
    "SynFlow",
    "Timing",
    "Uniform",
    "UniformPlus",
    "Units",
    "Unstructured",
    "WoodFisher",
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
