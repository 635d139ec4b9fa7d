"""A comparison as people look at it: what one table or one panel of a plot shows of the frame."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

QUALITY_TITLES = {
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "loss": "Loss",
    "perplexity": "Perplexity",
    "bleu": "BLEU",
}
_FRACTIONS = frozenset({"top1", "top5"})

# Quality metrics that are chosen beside a task's own, and whether more of them is better.
_CHOSEN = {"bleu": "higher"}

# Settings that headings pass over in silence where they are as always.
_USUAL = {"timing": "BetweenTrainings", "initialisation": "Default", "start_epoch": ""}


@dataclass(frozen=True)
class Comparison:
    """The rows of a leaderboard with one data set, model and settings, never empty.

    They are judged by the quality metric in their column ``quality``.
    """

    rows: pd.DataFrame

    @property
    def title(self) -> str:
        """The network and the data set."""
        return f"{self._common('model')} on {self._common('dataset')}"

    @property
    def conditions(self) -> str:
        """Rounds, schedule, recovery, what is unusual, and the hash of all settings."""
        rounds = self._common("rounds")
        shrunk = self._common("finetuned_network") == "shrunk"
        return " · ".join(
            [
                "1 round" if rounds == "1" else f"{rounds} rounds",
                f"{self._common('schedule')} schedule",
                f"recovery {self._common('recovery')}" + (", shrunk" if shrunk else ""),
                *(f"{name} {value}" for name, value in self.unusual().items()),
                f"settings {self._common('settings')}",
            ]
        )

    def unusual(self) -> dict[str, str]:
        """Those of the less usual settings that are not as always, in words."""
        settings = {name: self._common(name).removesuffix(".0") for name in _USUAL}
        return {
            name.replace("_", " "): value
            for name, value in settings.items()
            if value not in ("", _USUAL[name])
        }

    @property
    def quality(self) -> str:
        """The name of the primary quality metric; empty if no run finished."""
        return self._common("quality")

    @property
    def quality_title(self) -> str:
        """The primary quality metric in words, with its unit."""
        title = QUALITY_TITLES.get(self.quality, self.quality)
        return f"{title} (%)" if self.is_fraction else title

    @property
    def is_fraction(self) -> bool:
        """Whether the primary quality metric is a fraction, which people read in percent."""
        return self.quality in _FRACTIONS

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value of the primary quality metric is better."""
        return self._common("better") == "higher"

    @property
    def dense(self) -> float:
        """The unpruned network's quality, from the row with the most finished seeds."""
        row = int(self.rows["seeds"].to_numpy().argmax())
        return float(self.rows[f"{self.quality}_dense_mean"].iloc[row])

    @property
    def seeds(self) -> int:
        """How many seeds a complete row has."""
        counts = self.rows[["seeds", "seeds_failed", "seeds_missing"]].sum(axis="columns")
        return int(counts.max())

    def methods(self) -> list[tuple[str, pd.DataFrame]]:
        """Each strategy's name and its rows by ascending target.

        Where versions of one strategy differ in their source file, the names say which.
        """
        groups = {
            (str(strategy), _text(source)): rows
            for (strategy, source), rows in self.rows.groupby(
                ["strategy", "strategy_source"], sort=False, dropna=False
            )
        }
        names = [strategy for strategy, _ in groups]
        return [
            (f"{name} @{source[:8]}" if source and names.count(name) > 1 else name, rows)
            for (name, source), rows in groups.items()
        ]

    def _common(self, column: str) -> str:
        """A cell that all rows share, empty where an older file has no such column."""
        return _text(self.rows[column].iloc[0]) if column in self.rows else ""


def comparisons(frame: pd.DataFrame) -> list[Comparison]:
    """The comparisons of a leaderboard, in its order; the frame may come from a CSV file.

    Targets of different kinds have no points in common, and make different comparisons. Rows that
    have a further metric of quality, such as BLEU, are a comparison once more by that.
    """
    targets = [name for name in frame.columns if name.startswith("target_")]
    kinds = frame[targets].notna().idxmax(axis="columns") if len(frame) else pd.Series(dtype=str)
    groups = frame.groupby([frame["dataset"], frame["model"], frame["settings"], kinds], sort=False)
    found = []
    for _, rows in groups:
        found.append(Comparison(rows))
        for name, better in _CHOSEN.items():
            if f"{name}_mean" in rows and rows[f"{name}_mean"].notna().any():
                found.append(Comparison(rows.assign(quality=name, better=better)))
    return found


def _text(value: object) -> str:
    """A cell as text; pandas reads an empty one from CSV as NaN."""
    return "" if pd.isna(value) else str(value)  # type: ignore[call-overload]
