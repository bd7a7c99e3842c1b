import pytest
import torch
from torch import nn

from tests.teachers.library_networks import Net
from tutelage.errors import ConfigError
from tutelage.teachers.recorder import TapRecorder


def hooks(network):
    return sum(len(module._forward_hooks) for module in network.modules())


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Net().eval()


def test_outputs_are_those_of_this_call(network):
    recorder = TapRecorder(network, ["stem", "deep"])
    for _ in range(2):
        images = torch.rand(1, 3, 32, 32)
        found, result = recorder(lambda x=images: network(x), stop=False)
        assert torch.equal(found["stem"], network.stem(images))
        assert torch.equal(found["deep"], network(images))
        assert result is found["deep"]
        assert hooks(network) == 0


def test_the_rest_does_not_run_when_all_is_there(network):
    network.deep.register_forward_pre_hook(lambda *_: pytest.fail("ran on"))
    found, result = TapRecorder(network, ["stem"])(
        lambda: network(torch.rand(1, 3, 32, 32)), stop=True
    )
    assert result is None
    assert found["stem"].shape == (1, 4, 4, 4)


def test_a_network_cannot_swallow_the_early_exit(network):
    def run():
        try:
            return network(torch.rand(1, 3, 32, 32))
        except Exception:
            return "swallowed"

    assert TapRecorder(network, ["stem"])(run, stop=True)[1] is None


def test_the_first_output_of_a_module_that_runs_twice_counts(network):
    images = torch.rand(1, 3, 32, 32)

    def run():
        return network(images), network(1 - images)

    found, _ = TapRecorder(network, ["stem"])(run, stop=False)
    assert torch.equal(found["stem"], network.stem(images))


def test_what_goes_wrong_is_told_and_hooks_are_gone(network):
    with pytest.raises(ConfigError, match=r"no submodule 'dep'.*Did you mean 'deep'"):
        TapRecorder(network, ["dep"])
    with pytest.raises(ConfigError, match="'idle' does not run"):
        TapRecorder(network, ["stem", "idle"])(lambda: network(torch.rand(1, 3, 32, 32)), stop=True)
    with pytest.raises(ConfigError, match="'norm' is changed in place"), torch.no_grad():
        TapRecorder(network, ["norm"])(lambda: network(torch.rand(1, 3, 32, 32)), stop=False)
    with pytest.raises(RuntimeError, match="expected"):
        TapRecorder(network, ["stem"])(lambda: network(torch.rand(1, 5, 32, 32)), stop=True)
    assert hooks(network) == 0


def test_inference_mode_has_no_versions(network):
    recorder = TapRecorder(nn.Sequential(network), ["0.stem"])
    with torch.inference_mode():
        found, _ = recorder(lambda: network(torch.rand(1, 3, 32, 32)), stop=True)
    assert found["0.stem"].is_inference()
