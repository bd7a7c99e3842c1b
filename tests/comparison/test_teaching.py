"""Teaching is told once per store."""

from tutelage.comparison.cost import RunCost
from tutelage.comparison.teaching import teaching_of


def cost(*stores, asked=0.0, seconds=0.0, whole=200.0):
    return RunCost(True, 40, 5.0, None, "cpu", 1, whole, 0.0, asked, seconds, stores)


def test_each_store_once_and_who_reads_it():
    found = list(
        teaching_of(
            [
                ("baseline", cost(whole=100.0)),
                ("baseline", cost(whole=300.0)),
                ("bckd", cost("r", asked=3.5, seconds=30.0)),
                ("bckd", cost("r", asked=0.5, seconds=6.0)),  # the first was stopped
                ("cwd", cost("f", asked=4.0, seconds=44.0)),
                ("bckd+cwd", cost("r", "f")),
                ("box", cost("full")),
                ("crosskd", cost(asked=40.0, seconds=400.0)),  # asks always, stores nothing
            ]
        )
    )
    assert found == [
        (("r",), 4.0, 36.0, 0.18, 3),
        (("f",), 4.0, 44.0, 0.22, 2),
        (("full",), 0.0, 0.0, 0.0, 1),
    ]
    assert found[0].in_words() == (
        "Teaching, once: 4 epochs' worth of views asked in 36 s, 18 % of a baseline run's time, "
        "stored in r, read by 3 runs."
    )
    assert "all answers were in full before; 1 run" in found[2].in_words()


def test_stores_that_are_filled_together():
    both = ("bckd+cwd", cost("r", "f", asked=1.0, seconds=5.0))
    [found] = teaching_of([both, ("cwd", cost("f"))])
    assert found == (("r", "f"), 1.0, 5.0, None, 2)
    assert (
        "1 epoch's worth of views asked in 5 s, stored in r, f, read by 2 runs" in found.in_words()
    )
