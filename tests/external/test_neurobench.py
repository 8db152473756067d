"""zero_skip_macs and dense_macs equal NeuroBench's synaptic operations on the same networks (optional: needs torch and neurobench)."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("neurobench", reason="pip install neurobench")

import neurosim as ns  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def networks():
    torch.manual_seed(0)
    cnn = torch.nn.Sequential(torch.nn.Conv2d(2, 6, 3, stride=2, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(6, 8, 3), torch.nn.ReLU(),
                              torch.nn.Flatten(), torch.nn.Linear(8 * 6 * 6, 20), torch.nn.ReLU(), torch.nn.Linear(20, 4))
    mlp = torch.nn.Sequential(torch.nn.Linear(17, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 6))
    for net in (cnn, mlp):
        with torch.no_grad():
            for p in net.parameters():
                p[torch.rand_like(p) < 0.3] = 0
    return {"cnn": (cnn, (2, 16, 16)), "mlp": (mlp, (17,))}


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_effective_and_dense_macs(name, tmp_path):
    net, shape = networks()[name]
    x = torch.where(torch.rand(5, *shape) < 0.5, torch.zeros(1), torch.randn(5, *shape))
    path = tmp_path / "m.onnx"
    torch.onnx.export(net.eval(), x[:1], path, dynamo=False, input_names=["x"], output_names=["logits"])
    per_sample = neurobench_counts(net, x)
    trace = ns.simulate(ns.load(path), x.numpy(), numerics="float64")
    assert trace.totals_by_counter["zero_skip_macs"] == round(per_sample["Effective_MACs"] * len(x))
    assert trace.totals_by_counter["dense_macs"] == round(per_sample["Dense"] * len(x))


def neurobench_counts(net, x):
    """Means per sample over the batch."""
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    labels = torch.zeros(len(x), dtype=torch.long)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=len(x))
    results = Benchmark(TorchModel(net), loader, [], [], [[], [SynapticOperations]]).run(quiet=True)
    return results["SynapticOperations"]
