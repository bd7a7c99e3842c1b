from __future__ import annotations

import pytest

from tutelage.config.methods import parse_method
from tutelage.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "name", "weight", "options"),
    [
        pytest.param("fgd", "fgd", "auto", {}, id="a name"),
        pytest.param(
            "fgd:alpha=0.002,weight=1.5", "fgd", 1.5, {"alpha": 0.002}, id="options and weight"
        ),
        pytest.param("fgd:weight=auto", "fgd", "auto", {}, id="weight in words"),
        pytest.param(" fgd : alpha = 1e-3 ", "fgd", "auto", {"alpha": 1e-3}, id="spaces"),
        pytest.param("my_pkg.kd:Foo", "my_pkg.kd:Foo", "auto", {}, id="a path"),
        pytest.param(
            "my_pkg.kd:Foo:scale=2,weight=3",
            "my_pkg.kd:Foo",
            3.0,
            {"scale": 2},
            id="a path and options",
        ),
        pytest.param(
            "x:sizes=[1, 2],on=true", "x", "auto", {"sizes": [1, 2], "on": True}, id="list"
        ),
        pytest.param("x:kind=a:b", "x", "auto", {"kind": "a:b"}, id="a colon in a value"),
    ],
)
def test_reads(text: str, name: str, weight: object, options: dict[str, object]) -> None:
    config = parse_method(text)
    assert (config.name, config.weight, config.options) == (name, weight, options)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "'' is not a distillation method"),
        ("fgd:", "'fgd:' is not a distillation method"),
        (":alpha=1", "is not a distillation method"),
        ("a.b:C:", "is not a distillation method"),
        ("fgd:alpha=", "'alpha=' is not option=value"),
        ("fgd:alpha=1,beta", "'beta' is not option=value"),
        ("fgd:alpha=1,alpha=2", "gives 'alpha' twice"),
        ("fgd:name=mgd", "gives 'name' twice"),
        ("fgd:weight=-1", "the weight is -1, but must be a number above 0 or auto"),
        ("fgd:ratio=0", "the ratio is 0, but must be a number above 0"),
        (
            "fgd:weight=2,ratio=3",
            "the ratio is 3, but must be a number above 0, and the weight auto",
        ),
        ("fgd:weight=heavy", "the weight is 'heavy'"),
    ],
)
def test_refuses(text: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_method(text)
    assert part in str(caught.value)
    assert "fgd:alpha=0.002" in caught.value.fix
