"""The package itself: instant to import, and the way to a detector."""

import subprocess
import sys

import pytest

import tutelage


def test_importing_the_package_imports_no_torch():
    code = "import sys, tutelage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_load_returns_a_detector_with_these_names():
    detector = tutelage.load("yolov7-tiny@0.125", names=["RBC", "WBC"])
    assert detector.names == ("RBC", "WBC")
    assert detector.levels == {"p3": "57", "p4": "65", "p5": "73"}
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        tutelage.lode  # noqa: B018


def test_what_is_public_can_be_listed():
    assert dir(tutelage) == sorted(tutelage.__all__)
    assert {"load", "predict", "predict_each", "export", "bench"} < set(dir(tutelage))
    for name in dir(tutelage):
        assert getattr(tutelage, name) is not None


def test_the_compiler_of_torch_is_imported_when_it_is_needed():
    """``torchvision.ops`` imports torch._dynamo, which takes as long as torch itself."""
    code = (
        "import sys, tutelage.api.train, tutelage.api.compare, tutelage.deploy.predict;"
        "sys.exit(str(sorted({'torchvision', 'torch._dynamo', 'transformers'} & set(sys.modules))) if {'torchvision', 'torch._dynamo', 'transformers'} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
