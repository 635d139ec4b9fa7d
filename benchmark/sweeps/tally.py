"""How far tasks are that run elsewhere: they tell a tally, which is asked now and then."""

from __future__ import annotations


class Tally:
    """Takes what tasks tell, and keeps it until it is asked for. It needs nothing of ours."""

    def __init__(self) -> None:
        self._news: dict[int, float] = {}

    def tell(self, number: int, epochs: float) -> None:
        """The task of that number has begun, and has trained so many epochs since."""
        self._news[number] = epochs

    def news(self) -> dict[int, float]:
        """The epochs of each task that has told some since this was last asked."""
        news, self._news = self._news, {}
        return news
