"""The record: everything that one run of one experiment leaves behind, as plain data.

A record is JSON with a schema version. JSON has no NaN and no infinity, so a measurement that is
not finite is None from the moment the record is made, and a record equals what is read back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema
from typing_extensions import NotRequired, TypedDict

from ..errors import printable
from ..quality import Quality, titled
from . import brief
from .targets import TARGET_NAMES, given

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_THREADS = 1024
"""CPU threads that an experiment may ask for; with several thousands torch crashes."""

RECORD_ID_PATTERN = r"^[0-9a-f]{8,64}$"
"""What an experiment's identity looks like: lower-case hexadecimal digits."""


class _Plain:
    """Turns what is made into what JSON would give back; what comes from JSON is so already.

    What is annotated with it as a mapping is read as a dict, which is twice as fast.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # For a type checker it is no type, being computed.
        kind: Any = dict[get_args(source)] if get_origin(source) is Mapping else source  # type: ignore[misc]
        schema = handler.generate_schema(kind)
        made = core_schema.no_info_before_validator_function(_as_json_value, schema)
        return core_schema.json_or_python_schema(json_schema=schema, python_schema=made)


def _as_json_value(value: Any) -> Any:
    if isinstance(value, str):
        return _as_unicode(value)
    if isinstance(value, dict):
        return {_as_json_value(key): _as_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _as_unicode(text: str) -> str:
    """A text that UTF-8 can write: bytes of a path that are no text become ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode()


Text: TypeAlias = Annotated[str, BeforeValidator(_as_json_value)]
"""Any text, as it can be written."""


def _named(values: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
    """Names that a table can show: what is made gets escapes, what is read is refused."""
    if info.mode != "json":
        return {printable(name): value for name, value in values.items()}
    _refuse_unprintable(tuple(values))
    return values


@lru_cache(maxsize=1024)  # most records have the same names
def _refuse_unprintable(names: tuple[str, ...]) -> None:
    for name in names:
        if printable(name) != name:
            raise ValueError(f"{name!r} is no name of a measurement")


Measurements: TypeAlias = Annotated[Mapping[str, float | int | None], _Plain]
"""Metric name → value: fractions for accuracies; None where the value is not finite."""

Timings: TypeAlias = Annotated[dict[str, float | None], _Plain]
"""Name with its unit (``finetuning_seconds``) → value; None where nothing was measured."""

Document: TypeAlias = Annotated[dict[str, Any], _Plain]
"""A free JSON object."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_Whole = Annotated[int, Field(ge=0, lt=2**63)]


class _Recipe(TypedDict):
    epochs: _Whole


class _Described(TypedDict):
    """What everything that is made of records finds in an experiment; there may be more in it."""

    dataset: str
    model: str
    strategy: str
    rounds: _Whole
    schedule: str
    recovery: str
    timing: NotRequired[str]
    initialisation: NotRequired[str]
    finetuned_network: NotRequired[str]
    start_epoch: NotRequired[_Whole | None]
    pretraining: _Recipe
    finetuning: _Recipe
    seed: _Whole
    comparison: NotRequired[str]
    sources: NotRequired[dict[str, str]]


_targets: Any = dict.fromkeys(TARGET_NAMES, NotRequired[float | None])
_dictionary: Any = TypedDict  # a type checker knows none whose keys are those of a tuple
_with_targets = _dictionary("_with_targets", {**_Described.__annotations__, **_targets})
_with_targets.__pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)
_check: Any = TypeAdapter(_with_targets).validate_python  # no model is made, for that takes longer


def _described(experiment: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    if info.mode == "json":
        _check(experiment)
        if not given(experiment):
            raise ValueError(f"none of {', '.join(TARGET_NAMES)} is given")
    return experiment


class Failure(_Frozen):
    """Why a run gave no result: the exception's type, its message and its traceback."""

    type: Text
    message: Text
    traceback: Text


class Layer(_Frozen):
    """One parameter of the final network.

    ``density`` is ``nonzero / parameters``; ``flops`` are multiply–adds of one example, and
    ``effective_flops`` those of them whose weight is not zero, both None where FLOPs were not
    measured. ``weight_class`` is the class of weights to which a prunable one belongs, else empty.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    nonzero: int
    density: float
    flops: int | None
    effective_flops: float | None
    weight_class: str = ""


class Round(_Frozen):
    """One round of pruning and recovery.

    ``density`` is the target as a fraction (of the prunable weights, or of whatever else the target
    counts) and ``kept`` the number of prunable weights that stayed. ``before`` and ``after`` are
    test metrics straight after pruning and after recovery; ``validation`` holds the metrics on the
    validation split after recovery.
    """

    round: int
    density: float
    kept: int
    before: Measurements
    after: Measurements
    validation: Measurements


class Calibration(_Frozen):
    """A pass over examples that the pruning of a round looked at.

    There were so many ``batches`` with so many ``examples`` together, each an input of ``shape`` (a
    sequence's is its length). They are drawn by the experiment's seed; ``digest`` is the SHA-256 of
    inputs and labels, batch after batch.
    """

    round: int
    split: Literal["train"] = "train"
    batches: int
    examples: int
    shape: tuple[int, ...]
    digest: str


class Epoch(_Frozen):
    """One epoch of a training: a point of its curves.

    ``training`` is ``pretraining``, or ``fine-tuning`` with the number of the round. ``loss`` is
    the mean over training examples of what was minimised, smoothed labels and penalties included,
    as the network changed; ``validation`` holds the metrics on the validation split afterwards.
    """

    training: str
    epoch: int
    loss: Annotated[float | None, _Plain]
    validation: Measurements


class Distribution(_Frozen):
    """How the weights of a layer that are not zero are distributed, at three times.

    Each is a list of counts in bins of equal width from ``-limit`` to ``limit``, which no weight
    exceeds: of the unpruned network, of the network straight after the last pruning (empty where it
    was pruned during training), and at the end.
    """

    name: str
    limit: float
    dense: tuple[int, ...]
    pruned: tuple[int, ...]
    recovered: tuple[int, ...]


class Inference(_Frozen):
    """The measured time of a network in a runtime at a batch size, or the reason why there is none.

    ``network`` is ``dense``, ``masked`` or ``shrunk``. ``speedup`` is that over the dense network
    in the same runtime (in eager PyTorch, where the runtime is no use to a dense network), with its
    95 % confidence interval; ``speedup_over_eager`` that over the dense network in eager PyTorch.
    ``peak_bytes`` is the memory at the peak of a forward pass, and ``difference`` the largest one
    of outputs from those in eager PyTorch, relative to the largest output. Where the runtime
    rounds, ``quality`` is what the task's own metric says of the network as it computes there, or
    empty if that cannot be found out.

    Where it was whole passes over the test split that were timed, ``passes`` says how many, and
    ``pass_seconds`` is the mean of them. ``control`` is the speedup of an identical copy of the
    dense network over it, ``load`` the share of the processor that other processes took meanwhile,
    and ``doubt`` says why the speedups cannot be believed, if they cannot. Records that are older
    than these have none of them.
    """

    runtime: str
    network: Literal["dense", "masked", "shrunk"]
    batch_size: int
    memory_format: str
    median_ms: float | None
    iqr_ms: float | None
    repeats: int | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    speedup_over_eager: float | None
    peak_bytes: int | None
    difference: float | None
    reason: str
    speedup_over_eager_low: float | None = None
    speedup_over_eager_high: float | None = None
    passes: int | None = None
    pass_seconds: float | None = None
    control: float | None = None
    control_low: float | None = None
    control_high: float | None = None
    load: float | None = None
    doubt: str = ""
    quality: Mapping[str, float] | None = None


class QualityMetric(_Frozen):
    """A metric of quality whose name says too little: what people call it, and its unit."""

    title: Text
    unit: Text = ""


_REST = b',\n "error":'
"""How a record goes on after its :class:`Outcome`; within a text JSON has no line end."""

_END = b"\n}\n"


class Outcome(BaseModel):
    """The part of a record that a leaderboard is made of; reading it alone is four times as fast.

    ``id`` is the experiment's identity. ``quality`` names the task's quality metrics, the primary
    one first, and which direction is better; ``described`` has those of them by which runs are
    compared and that are none of prunebench's own. ``dense`` and ``final`` are the measurements of
    the network before the first and after the last round. ``least_dense_quality`` is the primary
    quality on the validation split that the unpruned network had to reach. ``doubts`` says of those
    of the ``timings`` that are speedups and None why they could not be believed. ``inference`` is
    what was measured of the finished network since, in ``inference_environment``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    id: str = Field(pattern=RECORD_ID_PATTERN)
    status: Literal["ok", "collapsed", "failed"]
    experiment: Annotated[Document, AfterValidator(_described)]
    quality: Annotated[dict[str, Literal["higher", "lower"]], AfterValidator(_named)]
    dense: Annotated[Measurements, AfterValidator(_named)]
    final: Annotated[Measurements, AfterValidator(_named)]
    timings: Timings
    described: Annotated[Mapping[str, QualityMetric], AfterValidator(_named)] = {}
    least_dense_quality: float | None = None
    doubts: Mapping[str, str] = {}
    inference: tuple[Inference, ...] = ()
    inference_environment: Document = {}

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read this much of a record back; what comes after it is not looked at.

        Raises:
            pydantic.ValidationError: ``content`` is not a record of this schema version.
        """
        if content.endswith(_END) and (length := content.find(_REST)) > 0:
            content = content[:length] + _END
        return cls.model_validate_json(content)

    def descriptions(self) -> dict[str, Quality]:
        """The described metrics of quality, with their directions."""
        return {
            name: titled(name, Quality(self.quality[name], each.title, each.unit))
            for name, each in self.described.items()
        }

    @property
    def finished(self) -> bool:
        """Whether the run came to its end, collapsed or not; a failed one may be tried again."""
        return self.status != "failed"


class Record(Outcome):
    """What one run of one experiment left behind.

    A record is ``failed`` exactly when it has an ``error``, and then it has no measurements; it is
    ``collapsed`` when pruning left a whole layer without weights (``collapsed_layers``).
    ``by_class`` has the primary quality of each class of examples, where there are classes.
    ``signatures`` says of metrics that are computed in more than one way, such as BLEU, in which.
    ``history`` has the epochs of all trainings, and ``distributions`` the histograms of the
    prunable weights; the first records have neither. ``revision`` is how many changes had moved
    results when the record was made (:mod:`prunebench.results.changes`). ``stacked`` is how many
    networks were trained at once: with more than one, results agree with those of the experiment
    alone up to rounding, and no further. ``digests`` has the SHA-256 of the data (``data``, the
    examples of the validation and test splits), of the weights of the dense network (``dense``), of
    the pruned one (``pruned``), and of all that pruning looked at (``calibration``), of which the
    field ``calibration`` says what it was; older records have none of these, so that :meth:`result`
    leaves them out.
    """

    model_config = ConfigDict(extra="forbid")

    error: Failure | None = None
    rounds: tuple[Round, ...]
    layers: tuple[Layer, ...]
    collapsed_layers: tuple[str, ...]
    by_class: Measurements = {}
    signatures: Mapping[str, str] = {}
    history: tuple[Epoch, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    revision: int = Field(default=0, ge=0)
    stacked: int = Field(default=1, ge=1)
    digests: Mapping[str, str] = {}
    calibration: tuple[Calibration, ...] = ()
    environment: Document

    @classmethod
    def from_json(cls, content: bytes | str) -> Self:
        """Read a record back.

        Raises:
            pydantic.ValidationError: ``content`` is not a record of this schema version.
        """
        return cls.model_validate_json(content)

    @model_validator(mode="after")
    def _status_fits_contents(self) -> Record:
        if (self.status == "failed") != (self.error is not None):
            raise ValueError("a record has an error exactly when its status is 'failed'")
        if self.status == "failed" and (self.dense or self.final or self.rounds):
            raise ValueError("a failed record has no measurements")
        if self.status != "failed" and not self.quality:
            raise ValueError("a finished record names at least one quality metric")
        if self.described.keys() - self.quality.keys():
            raise ValueError("described is what is no quality metric")
        return self

    def result(self) -> dict[str, Any]:
        """All numbers that a rerun must reproduce exactly: no times, environments and digests."""
        others = {"timings", "doubts", "environment", "digests", "calibration"}
        others |= {"inference", "inference_environment"}
        return self.model_dump(mode="json", exclude=others)

    def __str__(self) -> str:
        return brief.as_text(*self._in_brief())

    def __repr__(self) -> str:
        _, lines = self._in_brief()
        primary = "".join(f", {name} {pruned}, dense {dense}" for name, dense, pruned in lines[:1])
        return f"<Record {self.id}: {brief.title(self.experiment)}: {self._outcome()}{primary}>"

    def _repr_html_(self) -> str:
        return brief.as_html(*self._in_brief())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython asks for: one record is shown as a table, and several as a list."""
        printer.text(str(self) if printer.indentation == 0 else repr(self))

    def _qualities(self) -> dict[str, Quality]:
        """What the metrics of quality are, the primary one first."""
        described = self.descriptions()
        return {
            name: described.get(name, titled(name, better)) for name, better in self.quality.items()
        }

    def _in_brief(self) -> tuple[str, brief.Lines]:
        """A heading, and the lines of a short table."""
        lines = brief.lines(self._qualities(), self.dense, self.final)
        return f"{self.id}: {brief.title(self.experiment)}\nstatus: {self._outcome()}", lines

    def _outcome(self) -> str:
        """How it ended, in a line."""
        status = brief.standing(self.status, self.collapsed_layers)
        reason = f": {self.error.type}: {self.error.message}" if self.error else ""
        return printable(status + reason)

    def to_json(self) -> bytes:
        """The record as indented UTF-8 JSON that ends with a newline."""
        return self.model_dump_json(indent=1).encode() + b"\n"
