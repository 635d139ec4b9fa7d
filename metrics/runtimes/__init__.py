"""Runtimes: ways to run a network, each of which makes something else of its zeros."""

from .direct import SparseDirect
from .int8 import OnnxInt8
from .onnx_runtime import OnnxRuntime, as_onnx
from .open_vino import OpenVINO
from .pytorch import Compiled, Eager, SemiStructured
from .runtime import RUNTIMES, NetworkKind, Run, Runtime, UnsupportedError
from .sparse import SparseBSR, SparseCSR

__all__ = [
    "RUNTIMES",
    "Compiled",
    "Eager",
    "NetworkKind",
    "OnnxInt8",
    "OnnxRuntime",
    "OpenVINO",
    "Run",
    "Runtime",
    "SemiStructured",
    "SparseBSR",
    "SparseCSR",
    "SparseDirect",
    "UnsupportedError",
    "as_onnx",
]
