"""What is pruned: scores, allocations, structures, schedules, recoveries, each a plug-in."""

from .activation_magnitude import GlobalActivationMagnitude, LayerActivationMagnitude
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
from .context import Context
from .coupling import Coupling, Group
from .coupling_search import couple
from .curvature import CURVATURES, Curvature, EmpiricalFisher, Exact, GaussNewton, Hutchinson
from .derivatives import gradients, hessian_product
from .dynamic import SET, DynamicNetworkSurgery, RigL
from .gating import FeatureBoosting, GatedConvolution
from .gradient import GlobalGradientMagnitude, LayerGradientMagnitude
from .grasp import GraSP
from .layer_by_layer import CalibratedLayer, LayerByLayer
from .learned import STR, HardConcrete, Movement, StraightThrough
from .magnitude import (
    LAMP,
    GlobalMagnitude,
    LayerMagnitude,
    StructuredL1,
    StructuredL2,
    StructuredLInf,
)
from .masks import MaskedWeights, Masks, PackedMasks, collapsed, full_masks, kept
from .modes import batch_statistics, evaluation_mode, twice_differentiable
from .obd import OBD, Fisher, LayerOBD
from .obs import OBS, WoodFisher
from .penalty import L1, L2, PENALTIES, GroupLasso, LInf, NormalisationScale, Penalty
from .prunable import (
    Choice,
    Prunable,
    find_prunable,
    output_weights,
    outputs_first,
    prunable_weights,
    weight_class,
)
from .random import LayerRandom, Random, StructuredRandom
from .ranking import Ranking
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
from .scored import ScoredStrategy, Scores
from .selection import keep_largest, keep_largest_of_all
from .shrinking import (
    AttentionHeads,
    check_equivalence,
    shrink,
    try_shrinking,
    unsettled,
    write_back,
)
from .snip import SNIP
from .sparse_training import GradualTraining, ReparametrisedTraining, SparseTraining
from .sparsegpt import SparseGPT
from .strategy import STRATEGIES, Capabilities, Strategy, register
from .structure import (
    NM,
    STRUCTURES,
    Block,
    Channels,
    CoupledChannels,
    Filters,
    Structure,
    Unstructured,
)
from .synflow import SynFlow
from .timing import TIMINGS, BetweenTrainings, DuringTraining, Timing
from .untouched import left_untouched
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
    "AttentionHeads",
    "BatchNormSlimming",
    "BetweenTrainings",
    "Block",
    "CalibratedLayer",
    "Capabilities",
    "ChannelStrategy",
    "ChannelTaylor",
    "Channels",
    "Choice",
    "ClassBlind",
    "ClassDistribution",
    "ClassUniform",
    "Context",
    "CoupledChannels",
    "Coupling",
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
    "GlobalActivationMagnitude",
    "GlobalGradientMagnitude",
    "GlobalMagnitude",
    "GraSP",
    "GradualTraining",
    "Group",
    "GroupLasso",
    "HardConcrete",
    "History",
    "Hutchinson",
    "LInf",
    "LastRound",
    "LayerActivationMagnitude",
    "LayerByLayer",
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
    "PackedMasks",
    "Penalty",
    "Prunable",
    "Random",
    "Ranking",
    "Recovery",
    "Reinitialise",
    "ReparametrisedTraining",
    "Rewind",
    "RewindLearningRate",
    "RigL",
    "Schedule",
    "ScoredStrategy",
    "Scores",
    "Shuffled",
    "SparseGPT",
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
    "check_equivalence",
    "collapsed",
    "couple",
    "evaluation_mode",
    "find_prunable",
    "full_masks",
    "gradients",
    "hessian_product",
    "keep_largest",
    "keep_largest_of_all",
    "kept",
    "left_untouched",
    "output_weights",
    "outputs_first",
    "prunable_weights",
    "register",
    "shrink",
    "try_shrinking",
    "twice_differentiable",
    "unsettled",
    "weight_class",
    "write_back",
]
