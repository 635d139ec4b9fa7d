"""The tokens of a model of the transformers library, with which it was trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError


def tokens_of_model(name: str) -> tuple[Callable[[str], Tensor], int]:
    """What makes tokens of a text, the one that begins texts before them, and how many there are.

    Args:
        name: of a model of the hub, with ``@`` and a revision behind it if it is to be pinned, or
            the folder of one.

    Raises:
        UsageError: it cannot be read or downloaded, or has no token that begins or ends texts.
    """
    tokenizer = _tokenizer(name)
    first = tokenizer.bos_token_id
    if first is None:
        first = tokenizer.eos_token_id
    if first is None:
        raise UsageError(
            f"vocabulary: transformers/{name} is not allowed: it has no token that begins or ends "
            "a text"
        )

    def as_tokens(text: str) -> Tensor:
        tokens = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return torch.tensor([first, *tokens], dtype=torch.int32)

    return as_tokens, len(tokenizer)


def filled_tokens_of_model(name: str, length: int) -> tuple[Callable[[list[str]], Tensor], int]:
    """What makes tokens of texts (texts × ``length``), cut off or filled up, and what fills them.

    Args:
        name: of a model, as :func:`tokens_of_model` takes it.
        length: tokens of a text, those that begin and end it included.

    Raises:
        UsageError: it cannot be read or downloaded, or has no token that fills texts up.
    """
    tokenizer = _tokenizer(name)
    if tokenizer.pad_token_id is None:
        raise UsageError(
            f"vocabulary: transformers/{name} is not allowed: it has no token that fills texts up"
        )

    def as_tokens(texts: list[str]) -> Tensor:
        settings = {"truncation": True, "padding": "max_length", "max_length": length}
        tokens: Tensor = tokenizer(texts, return_tensors="pt", **settings)["input_ids"]
        return tokens

    return as_tokens, int(tokenizer.pad_token_id)


def _tokenizer(name: str) -> Any:
    import transformers  # it comes with the extra transformers, and importing it takes seconds

    model, _, revision = name.partition("@")
    try:
        return transformers.AutoTokenizer.from_pretrained(model, revision=revision or "main")
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UsageError(
            f"vocabulary: transformers/{name} cannot be read or downloaded: {reason}"
        ) from None
