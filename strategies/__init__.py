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
from .channels import (
    FPGM,
    ActivationChange,
    ActivationGradient,
    BatchNormSlimming,
    ChannelStrategy,
    ChannelTaylor,
)
from .context import Context, output_weight, prunable_weights, weight_class
from .curvature import CURVATURES, Curvature, EmpiricalFisher, Exact, GaussNewton, Hutchinson
from .derivatives import gradients, hessian_product
from .dynamic import SET, DynamicNetworkSurgery, RigL
from .gating import FeatureBoosting, GatedConvolution
from .gradient import GlobalGradientMagnitude, LayerGradientMagnitude
from .grasp import GraSP
from .learned import STR, HardConcrete, Movement, StraightThrough
from .magnitude import (
    LAMP,
    GlobalMagnitude,
    LayerMagnitude,
    StructuredL1,
    StructuredL2,
    StructuredLInf,
)
from .masks import MaskedWeights, Masks, collapsed, full_masks, kept
from .modes import batch_statistics, evaluation_mode, twice_differentiable
from .obd import OBD, Fisher, LayerOBD
from .obs import OBS, WoodFisher
from .penalty import L1, L2, PENALTIES, GroupLasso, LInf, NormalisationScale, Penalty
from .random import LayerRandom, Random, StructuredRandom
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
from .selection import keep_largest, keep_largest_of_all
from .snip import SNIP
from .sparse_training import GradualTraining, ReparametrisedTraining, SparseTraining
from .strategy import STRATEGIES, Scores, Strategy, register
from .structure import NM, STRUCTURES, Block, Channels, Filters, Structure, Unstructured
from .synflow import SynFlow
from .timing import TIMINGS, BetweenTrainings, DuringTraining, Timing
from .wanda import Wanda

__all__ = [
    "ALLOCATIONS",
    "CURVATURES",
    "ERK",
    "FPGM",
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
    "ActivationChange",
    "ActivationGradient",
    "Allocation",
    "BatchNormSlimming",
    "BetweenTrainings",
    "Block",
    "ChannelStrategy",
    "ChannelTaylor",
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
    "FeatureBoosting",
    "Filters",
    "FineTune",
    "Fisher",
    "GatedConvolution",
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
    "StructuredL2",
    "StructuredLInf",
    "StructuredRandom",
    "SynFlow",
    "Timing",
    "Uniform",
    "UniformPlus",
    "Units",
    "Unstructured",
    "Wanda",
    "WoodFisher",
    "batch_statistics",
    "collapsed",
    "evaluation_mode",
    "full_masks",
    "gradients",
    "hessian_product",
    "keep_largest",
    "keep_largest_of_all",
    "kept",
    "output_weight",
    "prunable_weights",
    "register",
    "twice_differentiable",
    "weight_class",
]
