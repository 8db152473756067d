"""Exported agents against their makers: recorded answers and returns, Stable-Baselines3's own `predict`, torch's own reader."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from neurosim import dense
from neurosim.control.policy import DeltaPolicy, to_action
from neurosim.exporters import export_sb3
from neurosim.exporters.torch_file import read_state_dict
from neurosim.loaders import load
from neurosim.simulation import Simulator

FOLDER = Path(os.environ.get("NEUROSIM_REFERENCE_MODELS", Path(__file__).resolve().parents[2].parent / "shared" / "models"))
needs_models = pytest.mark.skipif(
    not (FOLDER / "manifest.yaml").is_file(), reason="reference models are absent; set NEUROSIM_REFERENCE_MODELS to their folder"
)


def agents():
    if not (FOLDER / "manifest.yaml").is_file():
        return []
    return [e for e in yaml.safe_load((FOLDER / "manifest.yaml").read_text()) if (FOLDER / e["name"] / "agent.zip").is_file()]


def exported(entry, tmp_path):
    folder = FOLDER / entry["name"]
    statistics = folder / "vecnormalize.pkl"
    return export_sb3(
        folder / "agent.zip",
        tmp_path / entry["name"],
        vecnormalize=statistics if statistics.is_file() else None,
        trust_pickle=True,
        env=entry["env"]["id"],
        env_kwargs=entry["env"]["kwargs"],
    )


def answers_of(network, x):
    return np.array([network.decode(a).ravel() for a in dense.evaluate(network, x)[2]])


@needs_models
@pytest.mark.parametrize("entry", agents(), ids=lambda e: e["name"])
def test_answers_to_the_recorded_stream(entry, tmp_path):
    export = exported(entry, tmp_path)
    network = load(export.folder)
    assert network.static_total("dense_macs") == entry["dense_macs"]
    stream = np.load(FOLDER / entry["name"] / "stream.npz")
    x, expected = stream["obs"].astype(np.float64), stream["ref"].astype(np.float64)
    found = answers_of(network, x)
    assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
    if export.actor.action == "argmax":
        assert (found.argmax(1) == expected.argmax(1)).all()


def environment(entry):
    """The environment as the agent saw it; observations of the agents with a time feature end with 1 - t / 1000."""
    from neurosim.control.environment import make_environment
    from neurosim.errors import SimulationError

    preprocess = "time_feature" if entry["env"]["time_feature"] else None
    try:
        return make_environment(entry["env"]["id"], entry["env"]["kwargs"], preprocess)
    except SimulationError as error:
        pytest.skip(f"{entry['env']['id']}: {error}")


class Recorded:
    """The manifest's own graph of the actor, played by onnxruntime."""

    def __init__(self, path, action, space):
        runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.action, self.space = action, space

    def reset(self, seed):
        pass

    def act(self, observation):
        return to_action(self.session.run(None, {"obs": observation[None].astype(np.float32)})[0][0], self.action, self.space)


def returns_of(policy, env, episodes):
    returns = []
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        policy.reset(seed)
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(policy.act(observation))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return np.array(returns)


@needs_models
@pytest.mark.parametrize("entry", agents(), ids=lambda e: e["name"])
def test_returns_in_closed_loop(entry, tmp_path):
    """Events at threshold 0 in float64. Discrete actions play the recorded games. Continuous ones part from them by rounding, and
    a thousand steps of MuJoCo make that another game: their mean over 40 seeds is within 2 standard errors of the recorded graph's.
    """
    export, env = exported(entry, tmp_path), environment(entry)
    recorded, rule = np.array(entry["expected"]["returns"]), export.actor.action
    policy = DeltaPolicy(load(export.folder), env.action_space, rule, numerics="float64", record="none")
    if rule == "argmax":
        np.testing.assert_allclose(returns_of(policy, env, len(recorded)), recorded, rtol=0, atol=0.0051)
    else:
        found = returns_of(policy, env, 40)
        expected = returns_of(Recorded(FOLDER / entry["name"] / "actor.onnx", rule, env.action_space), env, 40)
        error = np.sqrt((found.var(ddof=1) + expected.var(ddof=1)) / 40)
        assert abs(found.mean() - expected.mean()) <= 2 * error
    env.close()


@needs_models
@pytest.mark.parametrize("entry", agents(), ids=lambda e: e["name"])
def test_weights_are_those_that_torch_reads(entry):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with zipfile.ZipFile(FOLDER / entry["name"] / "agent.zip") as archive:
        data = archive.read("policy.pth")
    expected = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    found = read_state_dict("policy.pth", data)
    assert list(found) == list(expected) and all(np.array_equal(found[k], v.numpy()) for k, v in expected.items())


def spaces():
    gymnasium = pytest.importorskip("gymnasium")
    box = gymnasium.spaces.Box
    return {
        "vector": box(-np.inf, np.inf, (7,), np.float32),
        "matrix": box(-1, 1, (3, 4), np.float32),
        "image": box(0, 255, (4, 84, 84), np.uint8),
        "discrete": gymnasium.spaces.Discrete(5),
        "box": box(np.array([-2.0, 0.0, -1.0], np.float32), np.array([2.0, 3.0, 1.0], np.float32)),
    }


def agent(algorithm, observations, actions, noise=0.2, **kwargs):
    """A small agent with random weights, made by Stable-Baselines3 itself."""
    gymnasium = pytest.importorskip("gymnasium")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    sb3 = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")
    if hasattr(sb3, algorithm):
        made = getattr(sb3, algorithm)
    else:
        made = getattr(pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed"), algorithm)

    class Still(gymnasium.Env):
        observation_space, action_space = spaces()[observations], spaces()[actions]

        def reset(self, *, seed=None, options=None):
            return self.observation_space.sample(), {}

        def step(self, action):
            return self.observation_space.sample(), 0.0, False, False, {}

    torch.manual_seed(1)
    if algorithm in ("DQN", "QRDQN", "SAC", "TD3", "DDPG", "TQC"):
        kwargs.setdefault("buffer_size", 10)
    policy = kwargs.pop("policy", "CnnPolicy" if observations == "image" else "MlpPolicy")
    model = made(policy, Still(), seed=1, device="cpu", **kwargs)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(noise * torch.randn_like(parameter) / max(1.0, float(parameter.shape[-1])) ** 0.5)
    return model


TANH, ELU = "Tanh", "ELU"
CASES = [
    ("PPO", "vector", "discrete", {}),
    ("PPO", "vector", "box", {"policy_kwargs": {"activation_fn": ELU, "net_arch": [8, 9, 10]}}),
    ("PPO", "matrix", "box", {"policy_kwargs": {"net_arch": []}}),
    ("PPO", "image", "discrete", {}),
    ("PPO", "image", "box", {"policy_kwargs": {"share_features_extractor": False, "net_arch": [16]}}),
    ("PPO", "vector", "box", {"use_sde": True, "policy_kwargs": {"squash_output": True}}),
    ("A2C", "vector", "discrete", {"policy_kwargs": {"activation_fn": "LeakyReLU"}}),
    ("TRPO", "vector", "box", {}),
    ("ARS", "vector", "discrete", {}),
    ("ARS", "vector", "box", {"policy": "LinearPolicy"}),
    ("ARS", "vector", "box", {"policy_kwargs": {"net_arch": [6, 5]}}),
    ("ARS", "vector", "box", {"policy": "LinearPolicy", "policy_kwargs": {"squash_output": True, "with_bias": True}}),
    ("DQN", "vector", "discrete", {"policy_kwargs": {"activation_fn": TANH}}),
    ("DQN", "image", "discrete", {}),
    ("QRDQN", "vector", "discrete", {"policy_kwargs": {"n_quantiles": 11}}),
    ("QRDQN", "image", "discrete", {"policy_kwargs": {"n_quantiles": 3}}),
    ("SAC", "vector", "box", {}),
    ("SAC", "vector", "box", {"use_sde": True, "policy_kwargs": {"clip_mean": 0.3}}),
    ("SAC", "image", "box", {"policy_kwargs": {"net_arch": [12]}}),
    ("TD3", "vector", "box", {"policy_kwargs": {"net_arch": [20, 10]}}),
    ("DDPG", "matrix", "box", {}),
    ("TQC", "vector", "box", {"policy_kwargs": {"activation_fn": "SiLU"}}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("algorithm", "observations", "actions", "kwargs"), CASES, ids=lambda v: str(v) if not isinstance(v, dict) else "")
def test_same_actions_as_predict(algorithm, observations, actions, kwargs, tmp_path):
    kwargs = with_activation(kwargs)
    model = agent(algorithm, observations, actions, 0.2 if observations == "image" else 0.6, **kwargs)
    model.save(tmp_path / "agent.zip")
    export = export_sb3(tmp_path / "agent.zip", tmp_path / "exported")
    network = load(export.folder)
    rng = np.random.default_rng(3)
    space = model.observation_space
    x = rng.integers(0, 256, (6, *space.shape), np.uint8) if observations == "image" else 3 * rng.standard_normal((60, *space.shape), np.float32)
    expected = model.predict(x, deterministic=True)[0]
    answers = answers_of(network, x)
    if export.actor.action == "argmax":
        assert (answers.argmax(1) == expected).all() and (observations == "image" or len(set(expected)) > 1)
        return
    low, high = model.action_space.low, model.action_space.high
    answers = np.clip(answers, low, high) if export.actor.action == "clip" else answers
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-5)
    assert observations == "image" or (np.ptp(expected, axis=0) > 1e-3).any()


def with_activation(kwargs):
    policy = kwargs.get("policy_kwargs", {})
    if "activation_fn" not in policy:
        return dict(kwargs)
    torch = pytest.importorskip("torch", reason="torch is not installed")
    return {**kwargs, "policy_kwargs": {**policy, "activation_fn": getattr(torch.nn, policy["activation_fn"])}}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("observations", "actions", "policy_kwargs"),
    [
        ("vector", "discrete", {"lstm_hidden_size": 16}),
        ("vector", "box", {"lstm_hidden_size": 12, "n_lstm_layers": 2, "shared_lstm": True, "enable_critic_lstm": False}),
        ("vector", "box", {"lstm_hidden_size": 8, "enable_critic_lstm": False, "net_arch": []}),
        ("image", "discrete", {"lstm_hidden_size": 8}),
    ],
)
def test_recurrent_policies_carry_their_state(observations, actions, policy_kwargs, tmp_path):
    """A sequence of observations through onnxruntime (states fed back) and as events, against `predict` with its state."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    policy = "CnnLstmPolicy" if observations == "image" else "MlpLstmPolicy"
    model = agent("RecurrentPPO", observations, actions, policy=policy, policy_kwargs=policy_kwargs, n_steps=8)
    model.save(tmp_path / "agent.zip")
    export = export_sb3(tmp_path / "agent.zip", tmp_path / "exported")
    session = runtime.InferenceSession(str(export.folder / "policy.onnx"), providers=["CPUExecutionProvider"])
    states = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()[1:]}
    names = [o.name for o in session.get_outputs()]
    assert names[0] == ("logits" if actions == "discrete" else "action_mean") and len(states) == 2 * policy_kwargs.get("n_lstm_layers", 1)
    model.observation_space.seed(5)
    rng, state, start = np.random.default_rng(5), None, np.ones(1, bool)
    chip, seen, wanted = Simulator(load(export.folder), numerics="float64"), [], []
    for _ in range(12):
        x = model.observation_space.sample() if observations == "image" else rng.standard_normal(7, np.float32)
        expected, state = model.predict(x, state=state, episode_start=start, deterministic=True)
        start = np.zeros(1, bool)
        found = dict(zip(names, session.run(None, {"obs": x[None].astype(np.float32), **states})))
        states = {k: found[k.replace("_in", "_out")] for k in states}
        answer = found[names[0]][0]
        seen.append(chip.step(x).ravel().copy())
        wanted.append(answer)
        if actions == "discrete":
            assert answer.argmax() == expected
        else:
            np.testing.assert_allclose(np.clip(answer, model.action_space.low, model.action_space.high), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(seen, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    np.testing.assert_allclose(np.concatenate([found[n] for n in names if n.startswith("h_out")]), state[0], rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_images_with_channels_last(tmp_path):
    model = agent("DQN", "image", "discrete")
    model.save(tmp_path / "agent.zip")
    network = load(export_sb3(tmp_path / "agent.zip", tmp_path / "exported", channels_last=True).folder)
    x = np.random.default_rng(0).integers(0, 256, (4, 84, 84, 4), np.uint8)
    answers = answers_of(network, x)
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        expected = model.q_net(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore")
def test_statistics_of_todays_vecnormalize(tmp_path):
    model = agent("PPO", "vector", "box")
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    normalised = vec_env.VecNormalize(model.get_env(), clip_obs=1.5)
    normalised.obs_rms.mean, normalised.obs_rms.var = np.linspace(-1, 1, 7), np.linspace(0.1, 4, 7)
    normalised.save(tmp_path / "vecnormalize.pkl")
    model.save(tmp_path / "agent.zip")
    network = load(export_sb3(tmp_path / "agent.zip", tmp_path / "exported", vecnormalize=tmp_path / "vecnormalize.pkl", trust_pickle=True).folder)
    x = np.random.default_rng(0).standard_normal((20, 7)) * 3
    expected = model.predict(normalised.normalize_obs(x), deterministic=True)[0]
    answers = answers_of(network, x)
    np.testing.assert_allclose(np.clip(answers, model.action_space.low, model.action_space.high), expected, rtol=0, atol=1e-5)
