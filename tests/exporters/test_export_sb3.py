"""Agents by hand: the arithmetic of each part stands in a comment, and what is not understood is refused by name."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from archives import BOX, DISCRETE, PARAMETERS, data, write_agent
from typer.testing import CliRunner

from neurosim import dense
from neurosim.cli import app
from neurosim.errors import LoadError
from neurosim.exporters import export_sb3
from neurosim.exporters.graph import onnx_model
from neurosim.exporters.model_folder import check_graph
from neurosim.exporters.steps import zero_states
from neurosim.loaders import load
from neurosim.model_card import read_card
from neurosim.simulation import Simulator

ROOT = Path(__file__).parents[2]
RELU = {"policy_kwargs": {":type:": "<class 'dict'>", "activation_fn": "<class 'torch.nn.modules.activation.ReLU'>"}}


def export(tmp_path, described=None, parameters=None, **options):
    agent = write_agent(tmp_path / "agent.zip", described=described, parameters=parameters)
    return export_sb3(agent, tmp_path / "exported", **options)


def answer(result, x):
    network = load(result.folder)
    return network.decode(dense.evaluate(network, np.array([x], np.float64))[2][0]).ravel()


def test_discrete_actor_by_hand(tmp_path):
    # relu(1, 2 * -1, 1 + 1 + 0.5) = (1, 0, 2.5); logits (1 + 0, 4 * 2.5 - 1) = (1, 9)
    result = export(tmp_path, data(**RELU))
    assert result.actor.activation_from == "policy_kwargs" and result.actor.parameters == 6 + 3 + 6 + 2
    np.testing.assert_allclose(answer(result, [1.0, -1.0]), [1.0, 9.0], rtol=1e-6)
    assert load(result.folder).static_total("dense_macs") == 12


def test_model_card(tmp_path):
    result = export(tmp_path, env="CartPole-v1", env_kwargs={"sutton_barto_reward": True})
    card = read_card(result.folder / "model.yaml")
    assert (card.name, card.action, card.output, card.weights, card.baseline, card.expected) == (
        "exported", "argmax", "logits", "policy.onnx", None, None)  # fmt: skip
    assert card.env.id == "CartPole-v1" and card.env.kwargs == {"sutton_barto_reward": True}
    assert card.recipe == "neurosim export sb3 agent.zip --env CartPole-v1"
    (result.folder / "policy.onnx").write_bytes((result.folder / "policy.onnx").read_bytes() + b"\0")
    with pytest.raises(LoadError, match="sha256"):
        load(result.folder)


def test_default_activation_is_the_algorithms_and_is_said(tmp_path):
    result = export(tmp_path)
    h = np.tanh([1.0, -2.0, 2.5])
    np.testing.assert_allclose(answer(result, [1.0, -1.0]), [h[0] + h[1], 4 * h[2] - 1], rtol=1e-6)
    assert any("tanh, the default of PPO, A2C, TRPO" in n for n in result.notes)


def test_an_activation_that_is_not_readable_is_asked_for(tmp_path):
    own = data(policy_kwargs={"activation_fn": "functools.partial(<class 'torch.nn.LeakyReLU'>, 0.2)"})
    with pytest.raises(LoadError, match="functools.partial.*say so with --activation"):
        export(tmp_path, own)
    assert not (tmp_path / "exported").exists()
    assert export(tmp_path, own, activation="relu").actor.activation == "relu"


def test_continuous_actor_keeps_its_mean_and_is_clipped_by_the_card(tmp_path):
    result = export(tmp_path, data(actions=BOX, **RELU))
    assert (result.actor.output, result.actor.action) == ("action_mean", "clip")
    np.testing.assert_allclose(answer(result, [1.0, -1.0]), [1.0, 9.0], rtol=1e-6)


def test_squashed_actions_are_scaled_to_uneven_bounds(tmp_path):
    # tanh(0.5) to -1..1 and tanh(-1) to -2..4, whose middle is 1 and half width 3
    parameters = {"actor.latent_pi.0.weight": [[1.0]], "actor.latent_pi.0.bias": [0.0], "actor.mu.weight": [[1.0], [-2.0]],
                  "actor.mu.bias": [0.0, 0.0], "actor.log_std.weight": [[1.0], [1.0]], "critic.qf0.0.weight": [[1.0, 1.0, 1.0]]}  # fmt: skip
    result = export(tmp_path, data("SACPolicy", "stable_baselines3.sac.policies", (1,), BOX), parameters)
    np.testing.assert_allclose(answer(result, [0.5]), [np.tanh(0.5), 1 + 3 * np.tanh(-1.0)], rtol=1e-6)
    assert result.actor.action == "identity" and any("does not say whether" in n for n in result.notes)


def test_quantiles_are_averaged(tmp_path):
    # outputs are quantile by quantile: (1, 5), (2, 7), (6, 0) -> (3, 4)
    parameters = {"quantile_net.quantile_net.0.weight": np.zeros((6, 2)), "quantile_net.quantile_net.0.bias": [1, 5, 2, 7, 6, 0],
                  "quantile_net_target.quantile_net.0.weight": np.ones((6, 2))}  # fmt: skip
    result = export(tmp_path, data("QRDQNPolicy", "sb3_contrib.qrdqn.policies"), parameters)
    np.testing.assert_allclose(answer(result, [0.0, 0.0]), [3.0, 4.0], rtol=1e-6)


def test_lstm_by_hand(tmp_path):
    # one cell, gates in torch's order input, forget, cell, output; from zero state, then once more with x = 0
    parameters = {
        "lstm_actor.weight_ih_l0": [[0.1, 0.0], [0.2, 0.0], [0.3, 0.0], [0.4, 0.0]], "lstm_actor.weight_hh_l0": [[1.0], [2.0], [3.0], [4.0]],
        "lstm_actor.bias_ih_l0": [0.0, 0.1, 0.0, 0.0], "lstm_actor.bias_hh_l0": [0.0, 0.2, 0.0, 0.0], "lstm_critic.weight_ih_l0": [[1.0]],
        "action_net.weight": [[1.0], [-1.0]], "action_net.bias": [0.0, 0.0],
    }  # fmt: skip
    described = data("RecurrentActorCriticPolicy", "sb3_contrib.common.recurrent.policies")
    result = export(tmp_path, described, parameters)

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    c = sigmoid(0.1) * np.tanh(0.3)
    h = sigmoid(0.4) * np.tanh(c)
    c_next = sigmoid(2 * h + 0.3) * c + sigmoid(h) * np.tanh(3 * h)
    h_next = sigmoid(4 * h) * np.tanh(c_next)
    answers = [[h, -h], [h_next, -h_next]]

    states = zero_states(result.actor.steps)
    for x, expected in zip(([1.0, 5.0], [0.0, 7.0]), answers):
        y, after = np.array(x), dict(states)
        for step in result.actor.steps:
            y = step.value(y, after)
        np.testing.assert_allclose(y, expected, rtol=1e-6)
        states = {k: after[k.replace("_in", "_out")] for k in states}
    chip = Simulator(load(result.folder), numerics="float64")
    np.testing.assert_allclose([chip.step(np.array(x)).ravel().copy() for x in ([1.0, 5.0], [0.0, 7.0])], answers, rtol=1e-6)


def slow_convolution(x, weight, bias, stride):
    n = (x.shape[1] - weight.shape[2]) // stride + 1
    y = np.zeros((len(weight), n, n))
    for o, i, j in np.ndindex(*y.shape):
        y[o, i, j] = (x[:, i * stride : i * stride + weight.shape[2], j * stride : j * stride + weight.shape[3]] * weight[o]).sum() + bias[o]
    return np.maximum(y, 0)


@pytest.mark.parametrize("channels_last", [False, True])
def test_nature_cnn_by_slow_loops(tmp_path, channels_last):
    rng = np.random.default_rng(0)
    shapes = {"cnn.0": (3, 2, 8, 8), "cnn.2": (4, 3, 4, 4), "cnn.4": (2, 4, 3, 3), "linear.0": (5, 2)}
    body = {f"{name}.{kind}": rng.standard_normal(shape if kind == "weight" else shape[0]).astype(np.float32) / 8
            for name, shape in shapes.items() for kind in ("weight", "bias")}  # fmt: skip
    head = {"q_net.q_net.0.weight": rng.standard_normal((2, 5)).astype(np.float32), "q_net.q_net.0.bias": np.zeros(2)}
    image = {**BOX, "dtype": "uint8", "shape": [2, 36, 36], "low": "[[[0 0 ... 0 0]]]", "high": "[[[255 255 ... 255]]]"}
    described = data("CnnPolicy", "stable_baselines3.dqn.policies", observation_space=image)
    result = export(tmp_path, described, {f"q_net.features_extractor.{k}": v for k, v in body.items()} | head, channels_last=channels_last)
    x = rng.integers(0, 256, (2, 36, 36), np.uint8)
    y = x / 255
    for name, stride in (("cnn.0", 4), ("cnn.2", 2), ("cnn.4", 1)):
        y = slow_convolution(y, body[f"{name}.weight"], body[f"{name}.bias"], stride)
    y = np.maximum(body["linear.0.weight"] @ y.ravel() + body["linear.0.bias"], 0)
    expected = head["q_net.q_net.0.weight"] @ y
    assert np.abs(expected).min() > 1e-3
    np.testing.assert_allclose(answer(result, np.moveaxis(x, 0, -1) if channels_last else x), expected, rtol=1e-4)


def test_images_that_are_not_to_be_scaled(tmp_path):
    image = {**BOX, "dtype": "uint8", "shape": [1, 1, 2], "low": "[[[0 0]]]", "high": "[[[255 255]]]"}
    scaled = export(tmp_path, data(observation_space=image, **RELU))
    plain = data(observation_space=image, policy_kwargs={**RELU["policy_kwargs"], "normalize_images": False})
    raw = export_sb3(write_agent(tmp_path / "raw.zip", described=plain), tmp_path / "raw")
    # relu(255 / 255, 0, 1 + 0.5) = (1, 0, 1.5), logits (1, 5); unscaled (255, 0, 255.5), logits (255, 1021)
    np.testing.assert_allclose(answer(scaled, [[[255, 0]]]), [1.0, 5.0], rtol=1e-6)
    np.testing.assert_allclose(answer(raw, [[[255, 0]]]), [255.0, 1021.0], rtol=1e-6)


def test_a_graph_that_differs_is_an_error(tmp_path, monkeypatch):
    mine = export(tmp_path, data(**RELU)).actor
    other = export_sb3(tmp_path / "agent.zip", tmp_path / "other", activation="tanh").actor
    with pytest.raises(LoadError, match="the graph differs from the archive's weights by"):
        check_graph(mine, onnx_model(other))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert check_graph(mine, onnx_model(mine)).startswith("onnx.reference against")
    with pytest.raises(LoadError, match="the graph differs"):
        check_graph(mine, onnx_model(other))


class RunningMeanStd:
    def __init__(self):
        self.mean, self.var, self.count = np.array([1.0, -1.0]), np.array([4.0, 0.25]), 10.0


class VecNormalize:
    def __init__(self, **more):
        self.obs_rms, self.clip_obs, self.epsilon, self.norm_obs = RunningMeanStd(), 3.0, 0.0, True
        self.__dict__.update(more)


@pytest.fixture
def statistics(tmp_path, monkeypatch):
    """A VecNormalize file, pickled under the names of Stable-Baselines3."""
    import types

    def write(protocol=4, **more):
        for package in ("stable_baselines3", "stable_baselines3.common", "stable_baselines3.common.vec_env"):
            monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
        for module, made in (("common.running_mean_std", RunningMeanStd), ("common.vec_env.vec_normalize", VecNormalize)):
            name = f"stable_baselines3.{module}"
            stand_in = types.ModuleType(name)
            setattr(stand_in, made.__name__, made)
            monkeypatch.setitem(sys.modules, name, stand_in)
            monkeypatch.setattr(made, "__module__", name)
        path = tmp_path / "vecnormalize.pkl"
        path.write_bytes(pickle.dumps(VecNormalize(**more), protocol))
        return path

    return write


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_statistics_go_to_the_head_of_the_graph(tmp_path, statistics, protocol):
    # (2 - 1) / 2 = 0.5, (9 + 1) / 0.5 = 20 -> 3; relu(0.5, 6, 0.5 - 3 + 0.5) = (0.5, 6, 0); logits (6.5, -1)
    described = data(**RELU) | {"_last_original_obs": {":type:": "<class 'numpy.ndarray'>", ":serialized:": "gAU="}}
    result = export(tmp_path, described, vecnormalize=statistics(protocol), trust_pickle=True)
    network = load(result.folder)
    assert [op.op for op in network.input.encoder.ops] == ["Sub", "Mul", "Clip"] and result.normalised
    np.testing.assert_allclose(answer(result, [2.0, 9.0]), [6.5, -1.0], rtol=1e-6)


def test_statistics_are_neither_lost_nor_trusted_in_silence(tmp_path, statistics):
    described = data() | {"_last_original_obs": {":type:": "<class 'numpy.ndarray'>"}}
    with pytest.raises(LoadError, match="trained behind VecNormalize.*--vecnormalize FILE"):
        export(tmp_path, described)
    with pytest.raises(LoadError, match="a pickle.*--trust-pickle"):
        export(tmp_path, described, vecnormalize=statistics())
    with pytest.raises(LoadError, match="exclude each other"):
        export(tmp_path, described, vecnormalize=statistics(), trust_pickle=True, raw_observations=True)
    assert not export(tmp_path, described, raw_observations=True).normalised


def test_rewards_only(tmp_path, statistics):
    result = export(tmp_path, vecnormalize=statistics(norm_obs=False), trust_pickle=True)
    assert not result.normalised and "rewards only" in result.notes[0] and "vecnormalize" not in read_card(result.folder / "model.yaml").recipe


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"obs_rms": {}}, "dict of observations"),
        ({"obs_rms": None}, "obs_rms is missing"),
        ({"clip_obs": float("nan")}, "clip_obs is not finite"),
        ({"epsilon": -1.0}, "make no normalisation"),
        ({"epsilon": "much"}, "not an array of numbers"),
    ],
)
def test_statistics_that_make_no_normalisation(tmp_path, statistics, more, message):
    with pytest.raises(LoadError, match=message):
        export(tmp_path, vecnormalize=statistics(**more), trust_pickle=True)


def test_statistics_of_another_agent(tmp_path, statistics):
    with pytest.raises(LoadError, match=r"shape \(2,\), the policy takes \(3,\)"):
        export(tmp_path, data(observations=(3,)), vecnormalize=statistics(), trust_pickle=True)


def without(*names):
    return {k: v for k, v in PARAMETERS.items() if k not in names}


REFUSED = [
    (data("MultiInputActorCriticPolicy"), None, "several observations"),
    (data("MyPolicy", "__main__"), None, "policy 'MyPolicy' of '__main__': its actor is not known"),
    (data("MaskableActorCriticPolicy", "sb3_contrib.common.maskable.policies"), None, "MaskableActorCriticPolicy"),
    (data(policy_kwargs={"features_extractor_class": "<class '__main__.Mine'>"}), None, "features_extractor_class <class '__main__.Mine'>"),
    (data(policy_kwargs={"lstm_kwargs": {"proj_size": 3}}), None, "lstm_kwargs"),
    (data(actions={**DISCRETE, ":type:": "<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>"}), None, "actions are MultiDiscrete"),
    (data() | {"observation_space": {**DISCRETE}}, None, "observations are Discrete"),
    (data() | {"observation_space": {"shape": ["a"]}}, None, "observation_space is not readable"),
    (data() | {"action_space": None}, None, "action_space is missing"),
    (data() | {"policy_class": {"__module__": "m"}}, None, "policy's class is not readable"),
    (data(actions={**DISCRETE, "n": "3"}), None, "the actor has 2 outputs, the space of actions 3"),
    (data(observations=(3,)), None, r"policy_net\.0 does not fit what comes before it, of shape \(3,\)"),
    (None, without("action_net.weight"), r"'action_net\.weight' is missing \(near it: action_net.bias"),
    (None, {**PARAMETERS, "mlp_extractor.policy_net.1.weight": [1.0, 1.0, 1.0]}, r"modules \[0, 1\] with weights"),
    (None, {**PARAMETERS, "action_net.bias": [1.0]}, "'action_net.bias' has 1 elements, its weights 2 rows"),
    (None, {**PARAMETERS, "action_net.weight": [[np.nan] * 3, [0.0] * 3]}, "2 axes of finite floats are needed"),
    (None, {**PARAMETERS, "attention.weight": [[1.0]]}, r"1 parameters have no place in this policy's actor: attention.weight \(1, 1\)"),
    (None, {**PARAMETERS, "pi_features_extractor.cnn.0.weight": np.zeros((4, 1, 5, 5))}, r"kernels of \(5, 5\), NatureCNN's are 8 x 8"),
]


@pytest.mark.parametrize(("described", "parameters", "message"), REFUSED, ids=[m[:40] for *_, m in REFUSED])
def test_refused_by_name(tmp_path, described, parameters, message):
    with pytest.raises(LoadError, match=message):
        export(tmp_path, described, parameters)
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize(("low", "message"), [("[-inf -1.]", "finite bounds"), ("[-1. ... -1.]", "cannot be read"), ("[-1. -1. -1.]", "2 finite")])
def test_bounds_that_actions_cannot_be_scaled_to(tmp_path, low, message):
    parameters = {"actor.mu.0.weight": [[1.0, 0.0], [0.0, 1.0]], "actor.mu.0.bias": [0.0, 0.0]}
    with pytest.raises(LoadError, match=message):
        export(tmp_path, data("TD3Policy", "stable_baselines3.td3.policies", actions={**BOX, "low": low}), parameters)


def test_a_folder_with_something_in_it_stays_as_it_is(tmp_path):
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "model.yaml").write_text("mine")
    with pytest.raises(LoadError, match="something in it"):
        export(tmp_path)
    assert [p.name for p in (tmp_path / "exported").iterdir()] == ["model.yaml"]


def neurosim(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_command_line_then_check_run_and_rollout(tmp_path):
    parameters = {"action_net.weight": [[0.0, -1.0, -5.0, -1.0], [0.0, 1.0, 5.0, 1.0]]}
    agent = write_agent(tmp_path / "agent.zip", described=data("ARSLinearPolicy", "sb3_contrib.ars.policies", (4,)), parameters=parameters)
    folder = tmp_path / "cartpole"
    result = neurosim("export", "sb3", agent, "-o", folder, "--env", "CartPole-v1", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "neurosim.export/1" and document["env_misfit"] is None and len(document["checks"]) == 2
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((5, 4)))
    assert neurosim("check", folder).exit_code == 0
    assert neurosim("run", folder, "--inputs", tmp_path / "x.npy").exit_code == 0
    result = neurosim("rollout", folder, "--episodes", 2, "--numerics", "float64", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["mean_return"] > 100  # balances, where random pushes last 22 steps


def test_command_line_says_what_is_wrong(tmp_path):
    agent = write_agent(tmp_path / "agent.zip", members={"policy.pth": None})
    result = neurosim("export", "sb3", agent, "-o", tmp_path / "out")
    assert result.exit_code == 2 and "member 'policy.pth' is missing" in result.stderr and not (tmp_path / "out").exists()
    assert neurosim("export", "sb3", agent, "-o", tmp_path / "out", "--preprocess", "atari").exit_code == 2
    result = neurosim("export", "sb3", write_agent(agent), "-o", tmp_path / "out", "--env", "CartPole-v1")
    assert result.exit_code == 0 and "input 'obs' takes (2,)" in result.stderr


def test_the_loader_points_to_the_exporter(tmp_path):
    with pytest.raises(LoadError, match=r"neurosim export sb3 agent\.zip -o FOLDER"):
        load(write_agent(tmp_path / "agent.zip"))


def test_neither_torch_nor_unpickling_is_needed(tmp_path):
    agent = write_agent(tmp_path / "agent.zip")
    code = f"""
import pickle, sys
from neurosim.exporters import export_sb3
def never(*args, **kwargs): raise AssertionError("unpickled")
pickle.loads = pickle.load = pickle.Unpickler = never
export_sb3({str(agent)!r}, {str(tmp_path / "exported")!r})
assert "torch" not in sys.modules and "stable_baselines3" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
