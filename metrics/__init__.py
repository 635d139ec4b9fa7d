"""What is measured: quality, size, multiply–adds, and time."""

from ..quality import Quality
from .accuracy import Accuracy
from .bleu import BLEU
from .conditions import FEWEST_SAMPLES, Conditions, load_between, processor_times
from .distribution import Histograms, histograms
from .flops import Flops
from .inference import InferenceTime, inference_times, pass_times
from .int8_weights import Int8Weights
from .latency import Latency
from .layers import LayerRow, layer_sizes, layer_table
from .memory import peak_within
from .metric import METRICS, Measurements, Metric, Subject, own_metric, register
from .modes import inference
from .perplexity import Perplexity
from .runtimes import RUNTIMES, NetworkKind, Runtime, UnsupportedError, as_onnx
from .size import Size
from .storage import Storage, decode, encode
from .timing import STANDARD, Protocol, Ratio, interleaved, keep_memory, pinned, ratio
from .token_speed import TokenSpeed
from .work import Work, flops_by_module, work_by_weight, work_left
from .zero_shot import ZeroShot

__all__ = [
    "BLEU",
    "FEWEST_SAMPLES",
    "METRICS",
    "RUNTIMES",
    "STANDARD",
    "Accuracy",
    "Conditions",
    "Flops",
    "Histograms",
    "InferenceTime",
    "Int8Weights",
    "Latency",
    "LayerRow",
    "Measurements",
    "Metric",
    "NetworkKind",
    "Perplexity",
    "Protocol",
    "Quality",
    "Ratio",
    "Runtime",
    "Size",
    "Storage",
    "Subject",
    "TokenSpeed",
    "UnsupportedError",
    "Work",
    "ZeroShot",
    "as_onnx",
    "decode",
    "encode",
    "flops_by_module",
    "histograms",
    "inference",
    "inference_times",
    "interleaved",
    "keep_memory",
    "layer_sizes",
    "layer_table",
    "load_between",
    "own_metric",
    "pass_times",
    "peak_within",
    "pinned",
    "processor_times",
    "ratio",
    "register",
    "work_by_weight",
    "work_left",
]
