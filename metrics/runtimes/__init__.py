"""Runtimes: ways to run a network, each of which makes something else of its zeros."""

from .direct import SparseDirect
from .onnx_runtime import OnnxRuntime, as_onnx
from .open_vino import OpenVINO
from .pytorch import Compiled, Eager, SemiStructured
from .runtime import RUNTIMES, NetworkKind, Run, Runtime, UnsupportedError
from .sparse import SparseCSR

__all__ = [
    "RUNTIMES",
    "Compiled",
    "Eager",
    "NetworkKind",
    "OnnxRuntime",
    "OpenVINO",
    "Run",
    "Runtime",
    "SemiStructured",
    "SparseCSR",
    "SparseDirect",
    "UnsupportedError",
    "as_onnx",
]
