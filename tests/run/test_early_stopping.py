"""The best epoch, and patience."""

from tutelage.run.early_stopping import EarlyStopping


def test_best_and_patience():
    best = EarlyStopping(patience=2)
    assert best.update(0, {"AP": 0.1})
    assert not best.update(1, {"AP": 0.1})
    assert not best.exhausted(1)
    assert best.exhausted(2)
    assert best.update(2, {"AP": 0.2})
    assert (best.epoch, best.value) == (2, 0.2)
    assert not EarlyStopping(patience=0).exhausted(10**6)
