"""What is pruned: scores, allocations, structures, schedules, recoveries, each a plug-in."""

from .axes.allocation import (
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
    PerOutput,
    Shuffled,
    Uniform,
    UniformPlus,
    Units,
)
from .axes.lora import LoRA
from .axes.penalty import L1, L2, PENALTIES, GroupLasso, LInf, NormalisationScale, Penalty
from .axes.ranking import Ranking
from .axes.recovery import (
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
from .axes.schedule import SCHEDULES, Cubic, Geometric, Linear, OneShot, Schedule
from .axes.selection import keep_largest, keep_largest_of_all
from .axes.structure import (
    NM,
    STRUCTURES,
    Block,
    Channels,
    CoupledChannels,
    Filters,
    Structure,
    Unstructured,
)
from .axes.timing import TIMINGS, BetweenTrainings, DuringTraining, Timing
from .calibrated import CalibratedStrategy
from .channels.coupling import Coupling, Group
from .channels.coupling_search import couple
from .channels.shrinking import (
    AttentionHeads,
    check_equivalence,
    shrink,
    try_shrinking,
    unsettled,
    write_back,
)
from .evidence.context import Context
from .evidence.curvature import (
    CURVATURES,
    Curvature,
    EmpiricalFisher,
    Exact,
    GaussNewton,
    Hutchinson,
)
from .evidence.derivatives import gradients, hessian_product
from .evidence.examples import Pass, content
from .evidence.modes import batch_statistics, evaluation_mode, twice_differentiable
from .evidence.prunable import (
    Prunable,
    find_prunable,
    output_weights,
    outputs_first,
    prunable_weights,
    require_shapes,
    weight_class,
)
from .evidence.scorings import Scorings, SharedScoring
from .evidence.sequence import in_sequence
from .evidence.untouched import left_untouched
from .layer_by_layer import CalibratedLayer, LayerByLayer
from .masks import MaskedWeights, Masks, PackedMasks, collapsed, full_masks, kept
from .scored import ScoredStrategy, Scores
from .scores.activation_magnitude import GlobalActivationMagnitude, LayerActivationMagnitude
from .scores.channels import (
    FPGM,
    ActivationChange,
    ActivationGradient,
    BatchNormSlimming,
    ChannelStrategy,
    ChannelTaylor,
)
from .scores.gradient import GlobalGradientMagnitude, LayerGradientMagnitude
from .scores.grasp import GraSP
from .scores.magnitude import (
    LAMP,
    GlobalMagnitude,
    LayerMagnitude,
    StructuredL1,
    StructuredL2,
    StructuredLInf,
)
from .scores.obd import OBD, Fisher, LayerOBD
from .scores.obs import OBS, WoodFisher
from .scores.random import LayerRandom, Random, StructuredRandom
from .scores.ria import RIA
from .scores.snip import SNIP
from .scores.sparsegpt import SparseGPT
from .scores.synflow import SynFlow
from .scores.wanda import Wanda
from .strategy import STRATEGIES, Capabilities, Strategy, register
from .training.dynamic import SET, DynamicNetworkSurgery, RigL
from .training.gating import FeatureBoosting, GatedConvolution
from .training.learned import STR, HardConcrete, Movement, StraightThrough
from .training.sparse_training import GradualTraining, ReparametrisedTraining, SparseTraining

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
    "RIA",
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
    "CalibratedStrategy",
    "Capabilities",
    "ChannelStrategy",
    "ChannelTaylor",
    "Channels",
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
    "LoRA",
    "MaskedWeights",
    "Masks",
    "Movement",
    "NoRecovery",
    "NormalisationScale",
    "OneShot",
    "PackedMasks",
    "Pass",
    "Penalty",
    "PerOutput",
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
    "Scorings",
    "SharedScoring",
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
    "content",
    "couple",
    "evaluation_mode",
    "find_prunable",
    "full_masks",
    "gradients",
    "hessian_product",
    "in_sequence",
    "keep_largest",
    "keep_largest_of_all",
    "kept",
    "left_untouched",
    "output_weights",
    "outputs_first",
    "prunable_weights",
    "register",
    "require_shapes",
    "shrink",
    "try_shrinking",
    "twice_differentiable",
    "unsettled",
    "weight_class",
    "write_back",
]
