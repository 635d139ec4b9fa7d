"""The dense network: built, trained once, and shared by every cell that starts from it."""

from __future__ import annotations

import hashlib
import json
import time
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from safetensors.torch import load_file, save
from torch import nn

from ...datasets import Task, discard, note_digest, noted_digest, whole
from ...errors import UsageError, tell
from ...metrics import Measurements, Metric, Subject, own_metric
from ...protocols import LeavesFillingOut, declared
from ...registry import Component
from ...results import Epoch, Store
from ...results.changes import CHANGES, Change, moved_dense
from ...results.naming import shown
from ...seeding import seeded
from ...strategies import State, require_shapes
from ..experiment import Experiment
from . import distributed
from .checkpoint import Checkpoints
from .epochs import Purpose, Training, epochs
from .evaluation import measured, quality
from .training import copy_of_state, train

_Make = Callable[[], None]
_Read = Callable[[Path], object]


class UntrainedError(UsageError):
    """A dense network has not learned what it must have learned to be compared with."""


def least_dense_quality(experiment: Experiment, task: Task) -> float | None:
    """The primary quality that the dense network must reach on the validation split.

    That is the experiment's, else the data set's own. None: any will do, as of a network that was
    not trained before it is pruned.
    """
    if experiment.least_dense_quality is not None:
        return experiment.least_dense_quality
    if not experiment.trains_densely:
        return None
    return own_metric(task).least(task, "validation")


def require_learned(experiment: Experiment, task: Task, report: Report) -> None:
    """Make sure that a dense network has learned.

    Raises:
        UntrainedError: it has not; the sentence names the network, the seed, quality and bound.
    """
    least = least_dense_quality(experiment, task)
    if least is None:
        return
    qualities = own_metric(task).qualities()
    name = next(name for name in qualities if name in report.validation)
    reached, higher = report.validation[name], qualities[name].higher_is_better
    if not (reached >= least if higher else reached <= least):
        own = "" if experiment.least_dense_quality is not None else ", the data set's own"
        raise UntrainedError(
            f"the dense network did not learn: {shown(str(experiment.model))} on "
            f"{shown(str(experiment.dataset))} with seed {experiment.seed} has a {name} of "
            f"{reached:.6g} on the validation split, and at {'least' if higher else 'most'} "
            f"{least:.6g} is asked for (least_dense_quality{own}): change the pretraining recipe, "
            "or give another least_dense_quality"
        )


@dataclass(frozen=True)
class Report:
    """What is known of a pretrained network.

    Attributes:
        test: quality on the test split.
        validation: quality on the validation split, by which the epoch was chosen.
        seconds: what the training took.
        curve: the epochs of the training.
        revision: how many changes had moved results when it was trained.
    """

    test: Measurements
    validation: Measurements
    seconds: float
    curve: list[Epoch]
    revision: int = 0


class Pretrained:
    """The pretrained network of an experiment, in files that all its relatives share.

    Args:
        experiment: its data set, model, pretraining recipe, seed and threads determine the network.
        task: the loaded data set.
        folder: where the records are; the networks are in its ``pretrained`` folder.
        checkpoint_seconds: time between two checkpoints of a training; None makes none.
    """

    def __init__(
        self,
        experiment: Experiment,
        task: Task,
        folder: Path,
        checkpoint_seconds: float | None = None,
    ) -> None:
        self._experiment = experiment
        self._task = task
        self._folder, self._checkpoint_seconds = folder, checkpoint_seconds
        self._checkpoints = self._checkpoints_of(experiment.pretraining_id)
        self._stem = _stem(experiment, folder)

    @property
    def path(self) -> Path:
        """Where its weights are."""
        return _weights(self._stem)

    def digest(self) -> str:
        """The SHA-256 of the file of its weights, wherever that is; it must be trained."""
        return noted_digest(self.path)

    def report(self) -> Report:
        """The report on the network, which is trained first if that has not been done."""
        self._ensure_trained()
        return _read_report(_report(self._stem))

    def measured(
        self, metrics: Sequence[Component[Metric]], prunable: tuple[str, ...]
    ) -> Measurements:
        """What metrics, such as BLEU, say of the network on the test split.

        Measured once, since that may take as long as pruning: each metric of quality, and the
        others together.

        Args:
            metrics: the metrics; one from a user's file counts by its contents.
            prunable: names of the weights that may be pruned, which change no quality.
        """
        found: Measurements = {}
        for metric in metrics:
            if metric.factory.quality:
                found |= self._measured([metric], ())
        others = [metric for metric in metrics if not metric.factory.quality]
        return found | self._measured(others, prunable)

    def _measured(
        self, metrics: Sequence[Component[Metric]], prunable: tuple[str, ...]
    ) -> Measurements:
        key = json.dumps([[each.identity for each in metrics], prunable, len(CHANGES)])
        digest = hashlib.sha256(key.encode()).hexdigest()[:8]
        path = self._stem.with_name(f"{self._stem.name}-{digest}.json")

        def measure() -> None:
            model = build(self._experiment, self._task)
            model.load_state_dict(self.state())
            subject = Subject(model, model, self._task, prunable)
            found = [measured(each.create(), subject) for each in metrics]
            _write(path, json.dumps(dict(ChainMap(*reversed(found)))).encode())

        self._ensure({path: _read_measured}, measure)
        return _read_measured(path)

    def state(self) -> State:
        """Parameters and buffers of the network."""
        self._ensure_trained()
        return load_file(self.path)

    def at_epoch(self, epoch: int) -> State:
        """Parameters and buffers that were validated after ``epoch`` epochs of the same training.

        Training again gives the same bits, so nothing but what is asked for is ever stored.
        """
        path = _after(self._stem, self._experiment, epoch)
        # Those of the whole training are deleted by whoever finds that finished.
        checkpoints = self._checkpoints_of(path.stem)

        def make() -> None:
            _write(path, save(self._trained_for(epoch, checkpoints)))

        self._ensure({path: load_file}, make)
        checkpoints.remove()
        return load_file(path)

    def _ensure_trained(self) -> None:
        report = _report(self._stem)
        files: Mapping[Path, _Read] = {self.path: load_file, report: _read_report}
        self._ensure(files, self._train)
        self._checkpoints.remove()

    def _train(self) -> None:
        start = time.perf_counter()
        model = build(self._experiment, self._task)
        purpose = self._purpose()
        checkpoint = self._checkpoints.of(purpose.name)
        recipe = self._experiment.pretraining
        trained = train(Training(model, self._task, recipe, purpose, checkpoint=checkpoint))
        before = 0.0 if checkpoint is None else checkpoint.seconds_before
        report = Report(
            test=quality(model, self._task, "test"),
            validation=trained.validation,
            seconds=before + time.perf_counter() - start,
            curve=trained.curve,
            revision=len(CHANGES),
        )
        _write(self.path, save(_contiguous(model)))
        _write(_report(self._stem), _as_json(report))

    def _trained_for(self, epoch: int, checkpoints: Checkpoints) -> dict[str, torch.Tensor]:
        model = build(self._experiment, self._task)
        if epoch > 0:
            recipe, purpose = self._experiment.pretraining, self._purpose()
            checkpoint = checkpoints.of(purpose.name)
            training = Training(model, self._task, recipe, purpose, checkpoint=checkpoint)
            saved, keep = (checkpoint.load(), checkpoint.save) if checkpoint else (None, None)
            for finished in epochs(training, saved, keep):
                if finished.number == epoch:
                    # Averages are in the network only until the training goes on or ends.
                    return _contiguous(model)
        return _contiguous(model)

    def _purpose(self) -> Purpose:
        return Purpose(self._experiment.seed, "pretraining")

    def _checkpoints_of(self, identity: str) -> Checkpoints:
        return Checkpoints(self._folder, identity, self._checkpoint_seconds)

    def _ensure(self, files: Mapping[Path, _Read], make: _Make) -> None:
        """Have ``make`` write files of which one is not there or damaged, in one of all processes.

        Args:
            files: each with what reads it.
            make: writes all of them. Where a change has moved the network since it was trained,
                all that is there of it is deleted before.
        """

        def are_there() -> bool:
            found = [whole(path, read) is not None for path, read in files.items()]
            return distributed.agreed(all(found) and not self._moved())

        if are_there():
            return
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._stem.with_suffix(".lock"))
        # Processes that share the work share the lock.
        with lock if distributed.rank() == 0 else nullcontext():
            # Another process may have made it meanwhile.
            if are_there():
                return
            if distributed.rank() == 0:
                for change in self._moved():
                    tell(
                        f"the dense network {self.path} was made before a change and is trained "
                        f"anew: {change.summary}"
                    )
                    self._remove()
                for path, read in files.items():
                    if whole(path, read) is None:
                        discard(path)
            make()

    def _moved(self) -> list[Change]:
        """The changes since the network was trained that moved it; none where it is not there."""
        report = whole(_report(self._stem), _read_report)
        if report is None:
            return []
        return moved_dense(self._experiment.model_dump(mode="json"), report.revision)

    def _remove(self) -> None:
        for path in files_of(self._experiment, self._stem.parent.parent):
            path.unlink(missing_ok=True)


def weights_of(experiment: Experiment, folder: Path) -> Path:
    """Where the weights of an experiment's pretrained network are, or would be."""
    return _weights(_stem(experiment, folder))


def files_of(experiment: Experiment, folder: Path) -> Iterator[Path]:
    """All that is kept of an experiment's pretrained network, in whatever state."""
    stem = _stem(experiment, folder)
    for path in stem.parent.glob(f"{stem.name}[.-]*"):
        if path.suffix not in (".lock", ".part"):
            yield path


def epochs_missing(experiments: Iterable[Experiment], folder: Path) -> int:
    """How many epochs of pretraining experiments need that have not left their files yet.

    Args:
        experiments: some of them may share networks, and those they go back to.
        folder: where the records are.
    """
    missing: dict[Path, int] = {}
    for each in experiments:
        stem, recovery = _stem(each, folder), each.recovery.create()
        missing[_report(stem)] = each.pretraining.epochs
        earlier = [each.start_epoch or 0, recovery.epochs_needed if recovery.goes_back else 0]
        missing |= {_after(stem, each, epoch): epoch for epoch in earlier}
    return sum(epochs for path, epochs in missing.items() if not path.exists())


def _stem(experiment: Experiment, folder: Path) -> Path:
    """What the names of all files of the pretrained network begin with."""
    return Store(folder).dense_networks / experiment.pretraining_id


def _as_json(report: Report) -> bytes:
    points = [point.model_dump() for point in report.curve]
    return json.dumps({**vars(report), "curve": points}).encode()


def _read_report(path: Path) -> Report:
    known = json.loads(path.read_bytes())
    return Report(**{**known, "curve": [Epoch(**point) for point in known["curve"]]})


def _read_measured(path: Path) -> Measurements:
    found: Measurements = dict(json.loads(path.read_bytes()))
    return found


def _write(path: Path, content: bytes) -> None:
    """Write a file and its digest, which are there when this returns in any process."""
    distributed.write(path, content)
    if distributed.rank() == 0:
        note_digest(path)
    distributed.barrier()


def _report(stem: Path) -> Path:
    return stem.with_suffix(".json")


def _weights(stem: Path) -> Path:
    return stem.with_suffix(".safetensors")


def _after(stem: Path, experiment: Experiment, epoch: int) -> Path:
    """The file of the network as it was after an epoch."""
    # Once files without this word had the weights that were not averaged.
    averaged = epoch > 0 and experiment.pretraining.weight_averaging is not None
    return stem.with_name(f"{stem.name}-epoch-{epoch}{'-averaged' * averaged}.safetensors")


def _contiguous(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the model's parameters and buffers, as files have them."""
    return {name: tensor.contiguous() for name, tensor in copy_of_state(model).items()}


def build(experiment: Experiment, task: Task, purpose: str = "initialisation") -> nn.Module:
    """The experiment's model with fresh weights, on the task's device.

    It has the memory format in which it runs fastest. Weights are drawn on the CPU, so that they
    are the same on every device.

    Raises:
        UsageError: the model takes another token than the task's for what fills texts up, or has
            parameters without a shape.
    """
    with seeded(experiment.seed, purpose, device=task.device):
        model: nn.Module = experiment.model.create(
            input_shape=task.input_shape, classes=task.classes
        )
        require_shapes(model)
        experiment.initialisation.create()(model)
    _require_its_filling(experiment, task, model)
    if any(parameter.ndim == 4 for parameter in model.parameters()):
        # LeNet-5 trains 1.4 times as fast with it on one CPU thread.
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim == 4:  # that of three-dimensional convolutions has another name
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return model.to(task.device)


def _require_its_filling(experiment: Experiment, task: Task, model: nn.Module) -> None:
    own = declared(model, LeavesFillingOut)
    if own is not None and task.filling is not None and own.filling != task.filling:
        raise UsageError(
            f"model {experiment.model} leaves out token {own.filling} as what fills texts up, and "
            f"{experiment.dataset} fills them up with {task.filling}: give it "
            f"config={{'pad_token_id': {task.filling}}}"
        )
