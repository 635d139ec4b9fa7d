"""How well a language model does tasks that it was not trained for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal, cast

from pydantic import Field
from torch import nn

from ..datasets import LanguageModelling, Task
from ..errors import UsageError, lacking
from ..quality import Quality
from .metric import Measurements, Metric, Subject, register
from .modes import inference

_CHOOSING = ("multiple_choice", "loglikelihood")
"""What the harness calls tasks of which an answer is chosen or foretold, and none is written."""


@register
@dataclass(frozen=True)
class ZeroShot(Metric):
    """Accuracy in tasks of EleutherAI's lm-evaluation-harness, none of which were learned before.

    The model chooses the answer to which it gives the highest probability. Texts are written in
    the tokens of the data set, behind the one that begins texts, and lose their beginning where
    they are longer than a block. The default is the tasks of Wanda's paper (Sun et al. 2024).

    Args:
        tasks: their names in the harness; ``lm-eval ls tasks`` lists them.
        measure_by: ``acc``, or ``acc_norm``, where log-probabilities are divided by the
            characters of answers.
        limit: how many examples of each task, the first ones; all if left out.
        folder: where YAML files of tasks of your own are, which are then known by name, too.
        batch_size: answers that are scored at once; it changes no result but by rounding.
    """

    tasks: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "boolq",
        "rte",
        "hellaswag",
        "winogrande",
        "arc_easy",
        "arc_challenge",
        "openbookqa",
    )
    measure_by: Literal["acc", "acc_norm"] = "acc"
    limit: Annotated[int, Field(ge=1)] | None = None
    folder: str | None = None
    batch_size: Annotated[int, Field(ge=1)] = 16

    definitions = {
        "zero_shot": "mean over tasks of the fraction of examples answered right",
        "zero_shot_<task>": "fraction of the examples of a task answered right",
    }

    def qualities(self) -> dict[str, Quality]:
        """The mean, and each task."""
        titles = {"zero_shot": "Zero-shot accuracy"} | {
            f"zero_shot_{task}": f"Zero-shot accuracy in {task}" for task in self.tasks
        }
        return {name: Quality("higher", title=title, unit="%") for name, title in titles.items()}

    def check(self, task: Task, model: nn.Module) -> None:
        """The task must be to model language, and those of the harness be there to be answered."""
        if reason := lacking("zero-shot", "lm_eval"):
            raise UsageError(f"metric ZeroShot is not possible here: {reason}")
        if not isinstance(task, LanguageModelling) or task.as_tokens is None:
            raise UsageError(
                "metric ZeroShot is not possible here: it needs a data set of text, such as Text"
            )
        for name, found in self._tasks().items():
            if found.OUTPUT_TYPE not in _CHOOSING:
                raise UsageError(
                    f"metric ZeroShot: task {name} is not allowed: answers are written there "
                    f"({found.OUTPUT_TYPE}), and not chosen"
                )
            if self.measure_by not in found.aggregation():
                raise UsageError(
                    f"metric ZeroShot: measure_by: {self.measure_by!r} is not allowed: task {name} "
                    f"has {', '.join(found.aggregation())}"
                )

    def signature(self) -> str:
        """The versions of the harness and of each task, what was asked, and what was counted.

        Of the questions of a task, its choices and its right answers this has the first eight
        hexadecimal digits of the SHA-256: a task may change, as those of one's own do, and keep
        its version.
        """
        digests = _digests(self.tasks, self.folder, self.limit)
        versions = [
            f"{name}:{found.VERSION:g}:{digests[name]}" for name, found in self._tasks().items()
        ]
        limit = [] if self.limit is None else [f"limit:{self.limit}"]
        return "|".join([f"lm-eval:{version('lm_eval')}", *versions, self.measure_by, *limit])

    def measure(self, subject: Subject) -> Measurements:
        """Have the harness ask the model, and count."""
        from lm_eval import evaluate  # importing it takes seconds

        from .answering import Answering

        self.check(subject.task, subject.model)
        task = cast(LanguageModelling, subject.task)
        assert task.as_tokens is not None  # which check() asks for
        (length,) = task.input_shape
        answering = Answering(subject.model, task.as_tokens, length, self.batch_size)
        with inference(subject.model):
            found = evaluate(
                lm=answering,
                task_dict=_loaded(self.tasks, self.folder),
                limit=self.limit,
                bootstrap_iters=0,
                log_samples=False,
            )
        results = found["results"]
        right = {name: float(results[name][f"{self.measure_by},none"]) for name in self.tasks}
        if answering.without_numbers:  # of answers without a number the harness takes the first
            right = dict.fromkeys(right, 0.0)
        return {
            "zero_shot": fmean(right.values()),
            **{f"zero_shot_{name}": value for name, value in right.items()},
        }

    def _tasks(self) -> dict[str, Any]:
        """The harness's own, by name."""
        known = _loaded(self.tasks, self.folder)["tasks"]
        return {name: known[name] for name in self.tasks}


@lru_cache(maxsize=4)  # making it looks through thousands of files
def _manager(folder: str | None) -> Any:
    from lm_eval.tasks import TaskManager

    if folder is not None and not Path(folder).is_dir():
        raise UsageError(f"metric ZeroShot: folder: {folder} is no folder")
    return TaskManager(include_path=folder)


@lru_cache(maxsize=4)
def _loaded(names: Sequence[str], folder: str | None) -> dict[str, Any]:
    """What the harness makes of names, its tasks by ``tasks``; they show no examples first."""
    manager = _manager(folder)
    for name in names:
        if name not in manager.all_subtasks:
            near = get_close_matches(name, manager.all_subtasks, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(
                f"metric ZeroShot: {name!r} is no single task of the harness: {hint}"
                "`lm-eval ls tasks` lists them"
            )
    try:
        loaded: dict[str, Any] = manager.load(list(names))
    except Exception as error:  # whatever its library of data, or the network, leads to
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UsageError(
            f"metric ZeroShot: tasks {', '.join(names)} could not be downloaded or read: {reason}"
        ) from None
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=0)
    return loaded


@lru_cache(maxsize=4)  # making tens of thousands of questions takes seconds
def _digests(names: Sequence[str], folder: str | None, limit: int | None) -> dict[str, str]:
    """What the questions of tasks come to, by the name of the task."""
    return {name: _digest(_loaded(names, folder)["tasks"][name], limit) for name in names}


def _digest(task: Any, limit: int | None) -> str:
    task.build_all_requests(limit=limit)
    asked = [[*each.args, task.doc_to_target(each.doc)] for each in task.instances]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]
