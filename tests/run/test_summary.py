"""The plan as text."""

from types import SimpleNamespace

from tutelage.distill.methods import METHODS
from tutelage.run.summary import _connectors

CHANNELS = [(8, 16), (16, 16)]


def test_connectors_are_those_that_are_there():
    def told(name):
        return _connectors(METHODS[name](CHANNELS), 2)

    assert told("fgd") == (" connector 1×1", "")
    assert told("defeat") == (" connector 3×3", " connector 3×3")
    assert told("sl2") == (" connector 1×1 1×1", " connector 1×1 1×1")
    assert told("at") == told("bckd") == ("", "")
    assert _connectors(SimpleNamespace(), 3) == ("", "", "")
