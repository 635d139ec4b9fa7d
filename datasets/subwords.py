"""Subword vocabularies: byte-pair encoding (Sennrich et al. 2016), by SentencePiece."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .cache import kept

PADDING, UNKNOWN, BEGIN, END = range(4)
"""The tokens that stand for no text."""


class Subwords:
    """A vocabulary of subwords: sentences to tokens and back.

    Args:
        model: what SentencePiece's training gave; see :meth:`learned`.
    """

    def __init__(self, model: bytes) -> None:
        import sentencepiece  # it comes with the extra translation

        # The library has no type hints.
        self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=model)

    @classmethod
    def learned(cls, sentences: Sequence[str], size: int, cache: Path) -> Subwords:
        """The vocabulary of ``size`` subwords of some sentences, learned once and then cached.

        Text is taken as it is, so that the tokens of a sentence give the sentence back. All its
        characters are in the vocabulary.

        Args:
            sentences: what it is learned from.
            size: number of tokens, the four that stand for no text included.
            cache: folder in which vocabularies are kept.

        Raises:
            UsageError: there is no vocabulary of this size for this text.
        """
        import sentencepiece

        text = hashlib.sha256("\n".join(sentences).encode())
        text.update(f"{size} {sentencepiece.__version__}".encode())
        path = cache / f"{text.hexdigest()[:16]}.model"

        def read(path: Path) -> Subwords:
            vocabulary = cls(path.read_bytes())
            if len(vocabulary) != size:
                raise ValueError(f"{path} holds another vocabulary")
            return vocabulary

        try:
            return kept(path, read, lambda part: part.write_bytes(_trained(sentences, size)))
        except OSError:
            return cls(_trained(sentences, size))  # nothing is kept where nothing can be written

    def __len__(self) -> int:
        """The number of tokens."""
        return int(self._processor.get_piece_size())

    def tokens(self, sentences: Iterable[str]) -> list[list[int]]:
        """The tokens of each sentence, without begin and end."""
        encoded: list[list[int]] = self._processor.encode(list(sentences))
        return encoded

    def text(self, tokens: Iterable[int]) -> str:
        """The sentence that consists of ``tokens``."""
        decoded: str = self._processor.decode(list(tokens))
        return decoded


def _trained(sentences: Sequence[str], size: int) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    characters = len({character for sentence in sentences for character in sentence})
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=1_000_000,
            pad_id=PADDING,
            unk_id=UNKNOWN,
            bos_id=BEGIN,
            eos_id=END,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        # The library's own words name its source file, and the largest size at their end.
        _, _, largest = str(error).rpartition("<= ")
        at_most = f" and at most {largest.rstrip('.')}" if largest[:1].isdecimal() else ""
        raise UsageError(
            f"vocabulary: {size} is not allowed for this text: it has {characters} different "
            f"characters, so that at least {characters + 4}{at_most} are needed"
        ) from None
    return model.getvalue()
