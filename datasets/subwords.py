"""Subword vocabularies: byte-pair encoding (Sennrich et al. 2016), by SentencePiece."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..errors import UsageError
from .cache import kept

PADDING, UNKNOWN, BEGIN, END = range(4)
"""The tokens that stand for no text."""


class Subwords:
    """A vocabulary of subwords: sentences to tokens and back.

    Attributes:
        digest: SHA-256 of what was learned.

    Args:
        model: what SentencePiece's training gave; see :meth:`learned`.
    """

    special: ClassVar[int] = 4
    """How many tokens stand for no text that was seen."""
    training: ClassVar[dict[str, Any]] = {}
    """What SentencePiece is told beside what holds for all subwords."""

    def __init__(self, model: bytes) -> None:
        import sentencepiece  # it comes with the extra translation

        # The library has no type hints.
        self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.digest = hashlib.sha256(model).hexdigest()

    @classmethod
    def learned(cls, sentences: Sequence[str], size: int, cache: Path) -> Subwords:
        """The vocabulary of ``size`` subwords of some sentences, learned once and then cached.

        Text is taken as it is, so that the tokens of a sentence give the sentence back. All its
        characters are in the vocabulary.

        Args:
            sentences: what it is learned from.
            size: number of tokens, those that stand for no text included.
            cache: folder in which vocabularies are kept.

        Raises:
            UsageError: there is no vocabulary of this size for this text.
        """
        import sentencepiece

        text = hashlib.sha256("\n".join(sentences).encode())
        text.update(f"{size} {sentencepiece.__version__}".encode())
        text.update(repr(cls.training).encode() if cls.training else b"")
        path = cache / f"{text.hexdigest()[:16]}.model"

        def read(path: Path) -> Subwords:
            vocabulary = cls(path.read_bytes())
            if len(vocabulary) != size:
                raise ValueError(f"{path} holds another vocabulary")
            return vocabulary

        try:
            return kept(path, read, lambda part: part.write_bytes(cls._trained(sentences, size)))
        except OSError:
            # Nothing is kept where nothing can be written.
            return cls(cls._trained(sentences, size))

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

    @classmethod
    def _trained(cls, sentences: Sequence[str], size: int) -> bytes:
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
                **cls.training,
            )
        except (RuntimeError, OSError) as error:
            # The library's own words name its source file, and the largest size at their end.
            _, _, largest = str(error).rpartition("<= ")
            at_most = f" and at most {largest.rstrip('.')}" if largest[:1].isdecimal() else ""
            raise UsageError(
                f"vocabulary: {size} is not allowed for this text: it has {characters} different "
                f"characters, so that at least {characters + cls.special}{at_most} are needed"
            ) from None
        return model.getvalue()


class ExactSubwords(Subwords):
    """Subwords in which any text can be written, so that it is given back to the letter.

    White space is kept as it is, and a character that is not in the vocabulary is written as its
    bytes in UTF-8, which take 256 of the tokens. (The one exception is U+2581, which becomes a
    space.)
    """

    special = Subwords.special + 256
    training = {"byte_fallback": True, "remove_extra_whitespaces": False}
