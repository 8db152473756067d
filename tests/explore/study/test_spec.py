"""What is wrong with a study is said before anything runs, with its place."""

import pytest

from neurosim.errors import NeurosimError
from neurosim.explore.study import read_study, run_study
from neurosim.explore.study.spec import Range

MODEL_LINE = "{model: [a.onnx], threshold: [0]}"


@pytest.mark.parametrize(("lines", "message"), [
    ({"prices": "{core.neurons: [16]}"}, "prices needs chip"),
    ({"runs": "{threshold: [0]}"}, "runs needs either model"),
    ({"runs": "{model: [a.onnx], thresholds: [0]}"}, "runs.thresholds: choose from model, trace"),
    ({"workload": None}, "workload: inputs"),
    ({"workload": "{inputs: x.npy, episodes: 3}"}, "inputs are recorded, nothing is played: episodes"),
    ({"workload": "{env: CartPole-v1, resets: r.npy}"}, "resets belong to inputs"),
    ({"runs": "{trace: [a.trace], threshold: [0]}"}, "a saved run stands alone"),
    ({"search": "{kind: random}"}, "search.samples"),
    ({"runs": "{model: [a.onnx], threshold: {low: 0, high: 1}}"}, "a grid needs a list"),
    ({"search": "{kind: random, samples: 3}", "runs": "{model: [a.onnx], threshold: {low: 0, high: 1, log: true}}"}, "no range of logarithms"),
    ({"runs": "{model: [a.onnx], threshold: [0, 0]}"}, "given twice"),
    ({"objectives": "[speed]"}, "objectives: 'speed' is unknown"),
    ({"prices": None, "objectives": "[energy_j]"}, "'energy_j' needs prices"),
    ({"constraints": "{score: {min: 1 ms}}"}, "score has no unit"),
    ({"constraints": "{latency_s: {max: 1 J}}"}, "constraints or period"),
    ({"period": "soon"}, "constraints or period"),
    ({"runs": "{model: [a.onnx], seed: [1]}"}, "recorded inputs have no seeds"),
    ({"color": "red"}, r"study.yaml:\d+:\d+: color"),
    ({"chunk": "0"}, r"study.yaml:\d+:\d+: chunk"),
])  # fmt: skip
def test_refusals_of_the_file(write, lines, message):
    with pytest.raises(NeurosimError, match=message):
        read_study(write(**lines))


@pytest.mark.parametrize(("lines", "message"), [
    ({"prices": "{chip: [loihi9]}"}, "loihi9"),
    ({"prices": "{chip: [loihi2], core.neuronz: [16]}"}, "core.neuronz"),
    ({"prices": "{chip: [loihi2], core.neurons: [-1]}"}, "core.neurons"),
    ({"prices": "{chip: [loihi2], arithmetic.weight_bits: [4]}"}, "put weight_bits into runs"),
    ({"runs": "{model: [missing.onnx], threshold: [0]}"}, "missing.onnx"),
    ({"workload": "{inputs: missing.npy}"}, "missing.npy"),
    ({"runs": "{trace: [missing.trace]}", "workload": None}, "missing.trace"),
])  # fmt: skip
def test_refusals_of_what_it_names(write, tmp_path, lines, message):
    with pytest.raises(NeurosimError, match=message):
        run_study(read_study(write(**lines)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_layer(write, small, tmp_path):
    model = small.runs["model"][0]
    with pytest.raises(NeurosimError, match="threshold.fc9: .* choose from input"):
        run_study(read_study(write(runs=f"{{model: ['{model}'], threshold.fc9: [0]}}")), tmp_path / "out")


def test_ranges_are_written_as_a_chip_file_has_them():
    assert Range(low=1, high=64, integer=True, unit="KiB").text(7.9) == "8 KiB"
    assert Range(low=0, high=1).text(1 / 3) == 0.333333


def test_one_value_needs_no_list(write):
    study = read_study(write(prices="{chip: loihi2, core.neurons: 16}"))
    assert study.prices == {"chip": ("loihi2",), "core.neurons": (16,)}


def test_foreign_folder_is_left_alone(small, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("dear")
    with pytest.raises(NeurosimError, match="holds something else"):
        run_study(small, tmp_path / "other")
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["thesis.txt"]
