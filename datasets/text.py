"""Text files as a data set for language models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..errors import UsageError, lacking
from ..folders import cache_folder
from .language import LanguageModelling, Stream
from .parallel_text import Multi30k
from .subwords import END, ExactSubwords, Subwords
from .task import Dataset, Task, register
from .text_files import names_of_splits, read_text, text_file
from .tokenizers import tokens_of_model

_BYTES = 256


@register
@dataclass(frozen=True)
class Text(Dataset):
    """Text of your own, in which a network learns to predict each token from those before it.

    For each split there is a file of UTF-8 text, which may end with ``.gz`` and be compressed so.
    It is taken to the letter, as one stream of tokens that is cut into blocks: nothing is unknown
    or lower-cased, so that perplexities per word and byte can be compared whatever the vocabulary
    is. Each token is predicted from those before it in its block alone. A line end stands before
    the text, so that its first token is predicted too.

    Args:
        folder: where the files are, below the folder of data sets unless it is absolute.
        train: name of the file of the training split.
        validation: name of the file of the validation split.
        test: name of the file of the test split.
        vocabulary: ``bytes``, which are 256 tokens; a number of subwords, which are learned by
            byte-pair encoding from the training split, what cannot be written in them being bytes;
            or ``transformers/NAME``, the tokens of a model of transformers, from the hub
            (``owner/name``, with ``@`` and a commit behind it if that is to be pinned) or a folder.
        length: tokens of a block.
        stride: how far a block of the validation and the test split begins after the one before. If
            left out, blocks do not overlap. The smaller it is the more tokens are before each that
            is predicted, and the longer evaluation takes.
    """

    folder: str = "."
    train: str = "train.txt"
    validation: str = "validation.txt"
    test: str = "test.txt"
    vocabulary: (
        Literal["bytes"]
        | Annotated[int, Field(ge=_BYTES)]
        | Annotated[str, Field(pattern="^transformers/.")]
    ) = "bytes"
    length: Annotated[int, Field(ge=1)] = 256
    stride: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        reason = ""
        if isinstance(self.vocabulary, int):
            reason = lacking("translation", "sentencepiece")
        elif self.vocabulary != "bytes":
            reason = lacking("transformers", "transformers")
        if reason:
            raise UsageError(f"dataset {type(self).__name__}: vocabulary: {reason}")

    def load(self, folder: Path) -> Task:
        """Read the files, and learn the subwords if that has not been done."""
        names = names_of_splits(type(self).__name__, self.train, self.validation, self.test)
        texts = {
            split: read_text(self.file(folder / self.folder, name)) for split, name in names.items()
        }
        as_tokens, classes, vocabulary = self._vocabulary(texts["train"])
        splits = {
            split: Stream(
                as_tokens(text), len(text.split()) + text.count("\n"), len(text.encode("utf-8"))
            )
            for split, text in texts.items()
        }
        stride = self.stride or self.length
        return LanguageModelling(splits, classes, self.length, stride, vocabulary, as_tokens)

    def file(self, folder: Path, name: str) -> Path:
        """The file of that name in ``folder``, compressed or not.

        Raises:
            UsageError: there is none.
        """
        return text_file(type(self).__name__, folder, name)

    def _vocabulary(self, training: str) -> tuple[Callable[[str], Tensor], int, str]:
        """What makes tokens of a text, one before it, how many there are, and what they are."""
        if self.vocabulary == "bytes":
            return _as_bytes, _BYTES, self.vocabulary
        if isinstance(self.vocabulary, str):
            name = self.vocabulary.removeprefix("transformers/")
            return *tokens_of_model(name), self.vocabulary
        lines = [line for line in training.split("\n") if line]
        subwords = ExactSubwords.learned(lines, self.vocabulary, cache_folder() / "vocabularies")
        return lambda text: _as_subwords(text, subwords), len(subwords), subwords.digest


@register
@dataclass(frozen=True)
class Multi30kText(Text):
    """One language of :class:`Multi30k` as a text: 29,000 descriptions of pictures, one a line.

    Args:
        folder: where the files are, below the folder of data sets, and where they are downloaded.
        train: name of the file of the training split: ``train``, or ``val``, a 29th of that.
        validation: name of the file of the validation split: ``val`` or ``test_2017_flickr``.
        test: name of the file of the test split: ``test_2016_flickr``, ``test_2017_flickr``,
            ``test_2017_mscoco``, or ``test_2018_flickr``.
        vocabulary: ``bytes``, a number of subwords, or ``transformers/NAME``; see ``Text``.
        length: tokens of a block.
        stride: how far a block of the validation and the test split begins after the one before.
        language: ``cs``, ``de``, ``en`` or ``fr``.
    """

    folder: str = "multi30k"
    train: str = "train"
    validation: str = "val"
    test: str = "test_2016_flickr"
    language: str = "en"

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = {
            "language": Multi30k.languages,
            "train": ("train", "val"),
            "validation": ("val", "test_2017_flickr"),
            "test": Multi30k.splits["test"],
        }
        for option, choices in allowed.items():
            if (given := getattr(self, option)) not in choices:
                raise UsageError(
                    f"dataset Multi30kText: {option}: {given!r} is not allowed: give "
                    f"{', '.join(choices)}"
                )

    def file(self, folder: Path, name: str) -> Path:
        """The file of that name in ``folder``, which is downloaded if it is not there."""
        return Multi30k().file(folder, f"{name}.{self.language}")


def _as_bytes(text: str) -> Tensor:
    """The bytes of a text, a line end before them."""
    return torch.frombuffer(bytearray(b"\n" + text.encode("utf-8")), dtype=torch.uint8)


def _as_subwords(text: str, subwords: Subwords) -> Tensor:
    """The subwords of the lines of a text, a line end before each."""
    tokens = [token for line in subwords.tokens(text.split("\n")) for token in (END, *line)]
    return torch.tensor(tokens, dtype=torch.int32)
