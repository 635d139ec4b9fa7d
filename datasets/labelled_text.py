"""Texts with labels, from files: sequence classification."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..errors import UsageError, lacking
from .classification import LabelClassification
from .task import Batch, Dataset, Split, Task, register
from .text_files import names_of_splits, read_text, text_file
from .tokenizers import filled_tokens_of_model

_FILLING = 0
_LONGEST = 2**31 - 1  # characters of a text


class TextClassification(LabelClassification):
    """Classification of texts that are tokens, filled up to one length.

    Args:
        splits: for each of train, validation and test the tokens (examples × length) and the labels
            (examples).
        class_names: what the labels are called.
        vocabulary: what the tokens stand for; see :class:`Task`.
        filling: the token that fills texts up.
    """

    def __init__(
        self,
        splits: Mapping[Split, Batch],
        class_names: Sequence[str],
        vocabulary: str,
        filling: int,
    ) -> None:
        self._splits = splits
        self.class_names = tuple(class_names)
        self.classes = len(class_names)
        self.input_shape = tuple(splits["test"][0].shape[1:])
        self.vocabulary = vocabulary
        self.filling = filling

    def size(self, split: Split) -> int:
        """Number of texts of a split."""
        return len(self._splits[split][1])

    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """One pass over a split; see :meth:`Task.batches`."""
        tokens, labels = self._splits[split]
        order = torch.arange(len(labels))
        if generator is not None:
            order = torch.randperm(len(labels), generator=generator)
        for index in order.split(batch_size):
            yield tokens[index], labels[index]

    def inputs(self, batch_size: int) -> Tensor:
        """The first ``batch_size`` test texts, from the start again if there are fewer."""
        tokens = self._splits["test"][0]
        return tokens[torch.arange(batch_size) % len(tokens)]


@register
@dataclass(frozen=True)
class LabelledText(Dataset):
    """Texts of your own with labels, to be classified.

    For each split there is a file: one that ends with ``.csv`` has names of columns in its first
    line, one that ends with ``.jsonl`` a JSON object on each line; either may end with ``.gz`` too
    and be compressed so. The classes are the labels of the training split.

    Args:
        folder: where the files are, below the folder of data sets unless it is absolute.
        train: name of the file of the training split.
        validation: name of the file of the validation split.
        test: name of the file of the test split.
        text: name of the column that has the texts.
        label: name of the column that has the labels.
        vocabulary: ``bytes``, byte b being token b + 1, of 257; or ``transformers/NAME``, the
            tokens of a model of transformers, those that begin and end texts included.
        length: tokens of a text; longer ones are cut off, and shorter ones filled up, with token 0
            or that of the model.
    """

    folder: str = "."
    train: str = "train.csv"
    validation: str = "validation.csv"
    test: str = "test.csv"
    text: str = "text"
    label: str = "label"
    vocabulary: Literal["bytes"] | Annotated[str, Field(pattern="^transformers/.")] = "bytes"
    length: Annotated[int, Field(ge=1)] = 128

    def __post_init__(self) -> None:
        if self.vocabulary != "bytes" and (reason := lacking("transformers", "transformers")):
            raise UsageError(f"dataset LabelledText: vocabulary: {reason}")

    def load(self, folder: Path) -> Task:
        """Read the files."""
        names = names_of_splits("LabelledText", self.train, self.validation, self.test)
        place = folder / self.folder
        pairs = {split: self._read(place, name) for split, name in names.items()}
        classes = sorted({label for _, label in pairs["train"]})
        if len(classes) < 2:
            raise UsageError(
                f"dataset LabelledText: the training split has one label only, {classes[0]!r}: "
                "there is nothing to tell apart"
            )
        numbers = {name: number for number, name in enumerate(classes)}
        as_tokens, filling = self._as_tokens()
        splits: dict[Split, Batch] = {}
        for split, rows in pairs.items():
            if unknown := {label for _, label in rows} - numbers.keys():
                raise UsageError(
                    f"dataset LabelledText: the {split} split has the label {min(unknown)!r}, "
                    "which the training split has not"
                )
            labels = torch.tensor([numbers[label] for _, label in rows])
            splits[split] = as_tokens([text for text, _ in rows]), labels
        return TextClassification(splits, classes, self.vocabulary, filling)

    def _as_tokens(self) -> tuple[Callable[[list[str]], Tensor], int]:
        """What makes tokens of texts, and the one that fills them up."""
        if self.vocabulary == "bytes":
            return lambda texts: _as_bytes(texts, self.length), _FILLING
        return filled_tokens_of_model(self.vocabulary.removeprefix("transformers/"), self.length)

    def _read(self, folder: Path, name: str) -> list[tuple[str, str]]:
        """The texts of a file with their labels.

        Raises:
            UsageError: there is no such file, or it lacks a column, a text or a label.
        """
        path = text_file("LabelledText", folder, name)
        found = []
        for number, row in enumerate(_rows(path), 1):
            text, label = (row.get(column) for column in (self.text, self.label))
            if not text or label in (None, ""):
                lacks = self.label if text else self.text
                raise UsageError(f"{path}: example {number} has no {lacks!r}")
            found.append((str(text), str(label)))
        if not found:
            raise UsageError(f"{path} has no examples")
        return found


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a CSV or JSONL file."""
    kind = Path(path.name.removesuffix(".gz")).suffix
    # Spreadsheets begin their files with a mark that is no part of the first name.
    content = io.StringIO(read_text(path).removeprefix("\ufeff"), newline="")
    if kind == ".csv":
        csv.field_size_limit(_LONGEST)
        try:
            yield from csv.DictReader(content)
        except csv.Error as error:
            raise UsageError(f"{path} cannot be read as CSV: {error}") from None
    elif kind == ".jsonl":
        for number, line in enumerate(content, 1):
            yield _object(path, number, line)
    else:
        raise UsageError(f"{path} is not allowed: give a file that ends with .csv or .jsonl")


def _object(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise UsageError(f"{path}: line {number} is no JSON object")
    return row


def _as_bytes(texts: list[str], length: int) -> Tensor:
    tokens = torch.full((len(texts), length), _FILLING)
    for row, text in zip(tokens, texts, strict=True):
        content = torch.tensor([byte + 1 for byte in text.encode("utf-8")[:length]])
        row[: len(content)] = content
    return tokens
