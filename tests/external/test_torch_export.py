"""Nature-CNN through both torch exporters: same counts, values as in torch."""

import numpy as np
import pytest

from neurosim import dense
from neurosim.loaders import load

torch = pytest.importorskip("torch", reason="torch is not installed")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_nature_cnn(tmp_path, dynamo):
    torch.manual_seed(0)
    nn = torch.nn
    policy = nn.Sequential(nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(),
                           nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 6)).eval()
    path = tmp_path / "policy.onnx"
    torch.onnx.export(policy, (torch.zeros(1, 4, 84, 84),), str(path), input_names=["obs"], output_names=["action"], dynamo=dynamo)
    network = load(path)
    assert network.static_total("dense_macs") == 9_346_048 and not network.decoder.ops
    x = np.random.default_rng(0).random((2, 4, 84, 84), np.float32)
    with torch.no_grad():
        expected = policy(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(dense.evaluate(network, x)[2], expected, rtol=0, atol=1e-5)
