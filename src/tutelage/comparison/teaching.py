"""What the teaching of a comparison cost: told once per store, however many runs use it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tutelage.comparison.arms import BASELINE
from tutelage.comparison.cost import RunCost


class Teaching(NamedTuple):
    """What was asked to fill a store, or several at a time.

    Attributes:
        stores: Their folders.
        asked: About how many epochs' worth of views was asked.
        seconds: What that took.
        share: The same as a share of a baseline run's time; None without one.
        runs: How many runs of the comparison read these stores.
    """

    stores: tuple[str, ...]
    asked: float
    seconds: float
    share: float | None
    runs: int

    def in_words(self) -> str:
        """Return the cost as a sentence."""
        where, times = ", ".join(self.stores), "run" if self.runs == 1 else "runs"
        if not self.asked:
            return f"Teaching: all answers were in {where} before; {self.runs} {times} read them."
        seconds = f"{self.seconds:.2g}" if self.seconds < 10 else f"{self.seconds:,.0f}"
        share = "" if self.share is None else f", {100 * self.share:.2g} % of a baseline run's time"
        many = "epoch's" if self.asked == 1 else "epochs'"
        return (
            f"Teaching, once: {self.asked:.2g} {many} worth of views asked in {seconds} s{share}, "
            f"stored in {where}, read by {self.runs} {times}."
        )


def teaching_of(costs: Sequence[tuple[str, RunCost]]) -> Iterator[Teaching]:
    """Yield what filling each store cost; of stores that one run fills together, both at once.

    Args:
        costs: Arm and cost of each run, whether it ended well or not.
    """
    plain = [cost.seconds for arm, cost in costs if arm == BASELINE and cost.seconds]
    users = [set(cost.stores) for _, cost in costs]
    sets = dict.fromkeys(cost.stores for _, cost in costs if cost.stores)
    found: list[Teaching] = []
    for stores in sets:
        each = [cost for _, cost in costs if cost.stores == stores]
        asked, seconds = sum(c.asked for c in each), sum(c.asking_seconds for c in each)
        share = seconds / statistics.median(plain) if plain else None
        runs = sum(bool(used & set(stores)) for used in users)
        found.append(Teaching(stores, asked, seconds, share, runs))
    told = {store for each in found if each.asked for store in each.stores}
    yield from (each for each in found if each.asked or not told.issuperset(each.stores))
