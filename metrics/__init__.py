"""What is measured: quality, size, multiply–adds, and time."""

from .accuracy import Accuracy
from .flops import Flops, flops_by_module
from .latency import Latency
from .layers import LayerRow, layer_table
from .metric import METRICS, Measurements, Metric, Subject, register
from .modes import inference
from .size import Size

__all__ = [
    "METRICS",
    "Accuracy",
    "Flops",
    "Latency",
    "LayerRow",
    "Measurements",
    "Metric",
    "Size",
    "Subject",
    "flops_by_module",
    "inference",
    "layer_table",
    "register",
]
