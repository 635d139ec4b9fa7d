"""The conformance kit: the rules that every strategy keeps."""

from .checks import CHECKS, Check

__all__ = ["CHECKS", "Check"]
