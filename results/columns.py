"""The columns of the leaderboard and what they mean; the documentation is made from this."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from .qualities import DESCRIPTION_COLUMNS
from .targets import TARGETS

BATCH_SIZES = (1, 256)
"""The batches whose times have columns in every table."""

LATENCY_COLUMN = "latency_batch{}_dense_ms"
"""The column, and the timing, of the unpruned network in a batch."""

_SETTINGS = {
    "dataset": "Data set, as in the experiment.",
    "model": "Network, as in the experiment.",
    "strategy": "Pruning strategy with the hyperparameters that are not at their default; one of "
    "the user's own by the name of its class.",
    "label": "What tables and plots call the strategy: the label chosen for it, else its name.",
    "strategy_source": "Digest of the strategy's own source file; empty for a built-in strategy.",
    **{
        kind.column: f"{kind.definition} Empty where the experiment gives another kind of target."
        for kind in TARGETS
    },
    "rounds": "Rounds of pruning and recovery.",
    "schedule": "How the target is approached over the rounds.",
    "recovery": "What follows the pruning in each round.",
    "finetuned_network": "`masked` where the network was fine-tuned with its zeros, `shrunk` where "
    "without the channels that are gone.",
    "timing": "Whether the rounds come before trainings or within one.",
    "initialisation": "Random weights from which the network began.",
    "start_epoch": "Epochs of pretraining after which pruning began; empty where the whole of it "
    "came first.",
    "pretraining_epochs": "Epochs of pretraining.",
    "pretraining_optimizer": "Optimizer of pretraining.",
    "pretraining_learning_rate": "Learning rate of pretraining at the start.",
    "pretraining_batch_size": "Examples in a step of pretraining.",
    "finetuning_epochs": "Epochs of fine-tuning, where the recovery has any, after each round.",
    "finetuning_optimizer": "Optimizer of fine-tuning.",
    "finetuning_learning_rate": "Learning rate of fine-tuning at the start.",
    "finetuning_batch_size": "Examples in a step of fine-tuning.",
    "<setting>": "Any further setting that some row has not at its default, such as "
    "`pretraining_weight_decay`, and the digest of a component's source file, such as "
    "`model_source`. Empty where it is at its default.",
    "settings": "Hash of all else in the experiment but the seed (recipes, threads, sources, …). "
    "Rows are comparable only where dataset, model and settings are equal.",
    "seeds": "Seeds whose run finished: those that the means are over.",
    "seeds_collapsed": "Finished seeds in which some layer lost all of its weights; they count "
    "in the means.",
    "seeds_failed": "Seeds whose run ended in an error; they count in no mean.",
    "seeds_missing": "Seeds that other rows of this comparison have and this one has not.",
    "quality": "Name of the primary quality metric.",
    "least_dense_quality": "Value of the primary quality metric on the validation split that the "
    "unpruned network had to reach, else the run failed; empty where any was good enough.",
    "better": "Whether a `higher` or a `lower` value of the primary quality metric is better.",
}

_FURTHER = "<setting>"

_QUALITY = {
    "<quality>_mean": "Mean over seeds of the quality metric on the test set after the last "
    "round (accuracies as fractions); empty if it is not finite for some seed.",
    "<quality>_std": "Sample standard deviation over seeds; empty for one seed.",
    "<quality>_ci95_low": "Lower end of the 95 % Student-t confidence interval of the mean.",
    "<quality>_ci95_high": "Upper end of the 95 % Student-t confidence interval of the mean.",
    "<quality>_by_seed": "Value of each seed by ascending seed, with spaces between; `nan` where "
    "it is not finite.",
    "<quality>_dense_mean": "Mean over the same seeds of the unpruned network's value.",
    "<quality>_change_mean": "Mean over seeds of the value minus the unpruned network's value of "
    "the same seed.",
    "<quality>_change_ci95_low": "Lower end of the 95 % Student-t interval of that change.",
    "<quality>_change_ci95_high": "Upper end of the 95 % Student-t interval of that change.",
}


def _speedups(batch: int, suffix: str) -> dict[str, str]:
    """The columns of a measured speedup."""
    name = f"measured_speedup_batch{batch}{suffix}"
    what = (
        "of the network without the channels that are gone; empty where no whole channels were "
        "removed."
        if suffix
        else "dense time / pruned time."
    )
    return {
        name: f"Median over seeds of the speedup measured with a batch of {batch}: {what} Seeds "
        "whose time is in doubt are left out, such as those measured while other workers computed.",
        f"{name}_low": "Lower end of its 95 % confidence interval; the lowest of all seeds. Empty "
        "in records that are older than it.",
        f"{name}_high": "Upper end of the same; the highest of all seeds.",
        f"{name}_doubt": "Why there is no such speedup though it was measured: that of the first "
        "seed, where the times of all are in doubt.",
    }


def _latencies(batch: int) -> dict[str, str]:
    """The columns of inference times."""
    return {
        f"latency_batch{batch}_{network}_ms": f"As latency_batch1_{network}_ms, for a batch of "
        f"{batch}."
        for network in ("dense", "pruned")
    }


def _control(batch: int) -> dict[str, str]:
    """The columns of what was seen while latencies were measured."""
    name = f"latency_batch{batch}"
    return {
        f"{name}_control": "Speedup of an identical copy of the unpruned network over it, measured "
        f"beside the others with a batch of {batch}, where 1 is the truth: of the seed where it is "
        "furthest from 1. Empty in records that are older than it.",
        f"{name}_control_low": "Lower end of its 95 % confidence interval.",
        f"{name}_control_high": "Upper end of the same.",
        f"{name}_load": "Share of the processor that other processes took meanwhile, other workers "
        "among them; the largest of all seeds.",
    }


def _times(batch: int) -> list[str]:
    """All columns of what inference in a batch takes."""
    parts = (_latencies(batch), _speedups(batch, ""), _speedups(batch, "_shrunk"), _control(batch))
    return [name for part in parts for name in part]


_COST = {
    "compression_mean": "Achieved compression of the whole network: parameters per nonzero one.",
    "prunable_sparsity_mean": "Achieved fraction of zeros among the prunable weights.",
    "parameters": "Parameters of the unpruned network.",
    "nonzero_mean": "Parameters of the pruned network that are not zero.",
    "flops": "Multiply–adds of the unpruned network for one example.",
    "effective_flops_mean": "Multiply–adds of the pruned network whose weight is not zero.",
    "theoretical_speedup_mean": "FLOPs of the unpruned network per effective FLOP.",
    "file_bytes": "Bytes of a safetensors file of the unpruned network.",
    "file_bytes_sparse_mean": "The same of the pruned network, a bitmask in place of its zeros.",
    "file_bytes_compressed_mean": "The same after DEFLATE, as gzip and zip use it.",
    "file_bytes_shrunk_mean": "The same of the network without the channels that are gone; "
    "empty where no whole channels were removed.",
    "latency_batch1_dense_ms": "Inference time of the unpruned network for a batch of 1, in "
    "milliseconds: the median over repeats, and of these the median over the seeds measured. Where "
    "`Latency` was given other batches, they have columns like these.",
    "latency_batch1_pruned_ms": "The same of the pruned network as it is, zeros and all.",
    **_speedups(1, ""),
    **_latencies(256),
    **_speedups(256, ""),
    **_speedups(1, "_shrunk"),
    **_speedups(256, "_shrunk"),
    **_control(1),
    **_control(256),
    "training_seconds_mean": "Wall-clock time of pretraining and fine-tuning together, in "
    "seconds, over the seeds measured; a shared pretraining counts in full for each run.",
}
for _kind in TARGETS:
    if _kind.achieved:
        _COST.setdefault(_kind.achieved_column, f"What was achieved of the target {_kind.name}.")

_METRICS = {
    "<metric>_mean": "Mean over seeds of any further metric of the experiment after the last "
    "round, in its own unit.",
}

COLUMNS: dict[str, str] = {**_SETTINGS, **_QUALITY, **DESCRIPTION_COLUMNS, **_COST, **_METRICS}
"""Column → definition, in the order of the table.

The columns with ``<quality>`` stand there once for every quality metric of the tasks, ``<setting>``
once for every such setting, and the last one once for every metric beyond the built-in ones.
"""

FLOAT_FORMAT = "%.6g"
"""How CSV files write numbers that are not whole; tables and pages show what is left of them."""

INTEGER_COLUMNS = (
    "rounds",
    "start_epoch",
    "pretraining_epochs",
    "pretraining_batch_size",
    "finetuning_epochs",
    "finetuning_batch_size",
    "seeds",
    "seeds_collapsed",
    "seeds_failed",
    "seeds_missing",
    "parameters",
    "flops",
    "file_bytes",
)
"""The columns of whole numbers."""

TEXT_COLUMNS = (
    "dataset",
    "model",
    "strategy",
    "label",
    "strategy_source",
    "schedule",
    "recovery",
    "finetuned_network",
    "timing",
    "initialisation",
    "pretraining_optimizer",
    "finetuning_optimizer",
    "settings",
    "quality",
    "better",
)
"""The columns of text, and so are those of doubts; all that are in neither list are floating-point
numbers."""


def expand_columns(
    settings: Iterable[str],
    qualities: Iterable[str],
    metrics: Iterable[str],
    described: Collection[str] = (),
    batches: Iterable[int] = (),
) -> list[str]:
    """The columns of a leaderboard with these further settings, quality and further metrics.

    Those quality metrics that are ``described`` have columns with what they are, and other
    ``batches`` than the usual ones those of their times.
    """
    names = list(_SETTINGS)
    place = names.index(_FURTHER)
    return [
        *names[:place],
        *settings,
        *names[place + 1 :],
        *(
            name.replace("<quality>", quality)
            for quality in qualities
            for name in (*_QUALITY, *(DESCRIPTION_COLUMNS if quality in described else ()))
        ),
        *_COST,
        *(name for batch in batches if batch not in BATCH_SIZES for name in _times(batch)),
        *(name.replace("<metric>", metric) for metric in metrics for name in _METRICS),
    ]


def further_columns(columns: Iterable[str]) -> list[str]:
    """Those of a leaderboard's columns that are further settings."""
    names = list(columns)
    before = names[: names.index("settings")] if "settings" in names else []
    return [name for name in before if name not in _SETTINGS]


def columns_as_markdown(columns: Mapping[str, str] = COLUMNS) -> str:
    """The definitions of columns as a Markdown table that ends with a newline."""
    lines = ["| Column | Definition |", "| --- | --- |"]
    lines += [f"| `{name}` | {definition} |" for name, definition in columns.items()]
    return "\n".join(lines) + "\n"
