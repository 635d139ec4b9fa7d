"""How close a network's translations are to those of people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import Field
from torch import nn

from ..datasets import Split, Task, Translation
from ..errors import UsageError, lacking
from ..protocols import Translates, declared
from ..quality import BLEU_SCORE
from .metric import Measurements, Metric, Subject, register
from .modes import inference


@register
@dataclass(frozen=True)
class BLEU(Metric):
    """BLEU by sacreBLEU, with its default tokenisation (13a) and in the case the text has.

    Args:
        beam: the width of the search; 1 takes the most probable subword at every step.
        length_normalisation: translations are compared by log-probability / length**this.
        batch_size: sentences that are searched at once; it changes no result but by rounding.
    """

    beam: Annotated[int, Field(ge=1)] = 5
    length_normalisation: Annotated[float, Field(ge=0)] = 1.0
    batch_size: Annotated[int, Field(ge=1)] = 100

    definitions = {"bleu": "corpus BLEU of the translations of a split, from 0 to 100"}
    quality = BLEU_SCORE

    def measure(self, subject: Subject) -> Measurements:
        """Translate all sentences, and compare them with the references as one corpus."""
        self.check(subject.task, subject.model)
        task = cast(Translation, subject.task)
        translations = self.translations(subject.model, task, subject.split)
        score = self._scorer().corpus_score(translations, [task.references(subject.split)])
        return {"bleu": float(score.score)}

    def check(self, task: Task, model: nn.Module) -> None:
        """The task must be to translate, the model ``translate``, and sacreBLEU be installed."""
        if not isinstance(task, Translation):
            raise UsageError(
                "metric BLEU is not possible here: it needs a data set of translations"
            )
        if declared(model, Translates) is None:
            raise UsageError(
                f"metric BLEU is not possible here: {type(model).__name__} has no translate(), as "
                "Seq2SeqLSTM has"
            )
        if reason := lacking("translation", "sacrebleu"):
            raise UsageError(f"metric BLEU is not possible here: {reason}")

    def signature(self) -> str:
        """What sacreBLEU says of the way in which it is computed, and how was searched."""
        scorer = self._scorer()
        scorer.corpus_score(["a"], [["a"]])  # which tells it the number of references
        search = f"beam:{self.beam}|length:{self.length_normalisation:g}"
        return f"{scorer.get_signature()}|{search}"

    def translations(self, model: nn.Module, task: Translation, split: Split) -> list[str]:
        """The translations of all sentences of a split, in its order."""
        translator = declared(model, Translates)
        assert translator is not None  # which check() asks for
        found: dict[int, str] = {}
        with inference(model):
            for places, sources in task.sources(split, self.batch_size):
                outputs = translator.translate(
                    sources, task.begin, task.end, self.beam, self.length_normalisation
                )
                for place, tokens in zip(places, outputs, strict=True):
                    found[place] = task.text(tokens)
        return [found[place] for place in range(len(found))]

    def _scorer(self) -> Any:
        from sacrebleu.metrics import bleu  # importing it takes time

        return bleu.BLEU()
