"""A Stable-Baselines3 callback: during training, the policy as a delta network, its MACs and its score.

    from neurosim.sb3_callback import delta_callback
    model.learn(100_000, callback=delta_callback("CartPole-v1", every=10_000, threshold=0.02))

Needs stable-baselines3 (which the training needs anyway); figures go to the model's own logger, so also to TensorBoard.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim.errors import SimulationError

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback


def delta_callback(
    env: str,
    *,
    every: int = 10_000,
    episodes: int = 5,
    seed: int = 50_000,
    threshold: float = 0.0,
    env_kwargs: dict[str, Any] | None = None,
    preprocess: str | None = None,
    mlflow: bool = False,
) -> BaseCallback:
    """Make the callback.

    Every `every` timesteps of the training (and at its end) the actor is exported, without touching the training, and plays
    `episodes` episodes as a delta network, beside the dense policy on the same seeds. Logged under ``neurosim/``:
    ``return``, ``dense_return``, ``macs_per_decision``, ``dense_macs``, ``reduction`` (dense / effective), ``action_agreement``;
    also in `history`, a list of dicts.

    Parameters
    ----------
    env, env_kwargs, preprocess : as in `neurosim.rollout`
        The policy's environment without VecNormalize: where the training uses it, its statistics go into the graph.
    threshold : float
        Of the input and every layer.
    mlflow : bool
        Log to MLflow's active run too (one is begun where there is none).

    Raises
    ------
    SimulationError
        Where Stable-Baselines3 or MLflow is missing, or an option is out of range; later, where the policy cannot be exported.
    """
    try:
        from stable_baselines3.common.callbacks import BaseCallback
    except ImportError:
        raise SimulationError("the callback needs stable-baselines3 (pip install stable-baselines3)") from None
    log_metrics = _mlflow_metrics() if mlflow else None
    if every < 1 or episodes < 1:
        raise SimulationError(f"an evaluation every {every} timesteps over {episodes} episodes: both are at least 1")

    class DeltaCallback(BaseCallback):
        """See `delta_callback`."""

        def __init__(self) -> None:
            super().__init__()
            self.history: list[dict[str, float]] = []
            self._next = every

        def _on_step(self) -> bool:
            if self.num_timesteps >= self._next:
                self._next += every
                self._measure()
            return True

        def _on_training_end(self) -> None:
            if self.history and self.history[-1]["timesteps"] == self.num_timesteps:
                self.history.pop()  # measured before the last update of the weights
            self._measure()

        def _measure(self) -> None:
            figures = measure(self.model, env, episodes, seed, threshold, env_kwargs, preprocess)
            self.history.append({"timesteps": self.num_timesteps, **figures})
            for name, value in figures.items():
                self.logger.record(f"neurosim/{name}", value)
            if log_metrics is not None:
                log_metrics({f"neurosim/{name}": value for name, value in figures.items()}, step=self.num_timesteps)

    return DeltaCallback()


def _mlflow_metrics() -> Any:
    """`mlflow.log_metrics`."""
    try:
        from mlflow import log_metrics
    except ImportError:
        raise SimulationError("mlflow=True needs MLflow (pip install mlflow)") from None
    return log_metrics


def measure(model: Any, env: str, episodes: int, seed: int, threshold: float, env_kwargs: dict[str, Any] | None, preprocess: str | None
            ) -> dict[str, float]:
    """Play a Stable-Baselines3 model as a delta network; the figures that `delta_callback` logs."""
    from neurosim.control import rollout
    from neurosim.exporters import export_sb3
    from neurosim.loaders import load
    from neurosim.transforms import set_thresholds

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder / "agent.zip")
        normaliser = model.get_vec_normalize_env()
        statistics = folder / "vecnormalize.pkl"
        if normaliser is not None:
            normaliser.save(str(statistics))
        normalises = normaliser is not None and normaliser.norm_obs
        export_sb3(folder / "agent.zip", folder / "policy", vecnormalize=statistics if normalises else None,
                   trust_pickle=True, raw_observations=normaliser is not None and not normalises)
        network = set_thresholds(load(folder / "policy"), threshold)
    played = rollout(network, env, episodes=episodes, seed=seed, env_kwargs=env_kwargs, preprocess=preprocess, record="none",
                     reference_every=16)
    macs = float(played.macs_per_decision().mean())
    dense = float(network.static_total("dense_macs"))
    return {"return": float(played.returns.mean()), "dense_return": float(played.dense_returns.mean()), "macs_per_decision": macs,
            "dense_macs": dense, "reduction": dense / macs if macs else float("inf"), "action_agreement": float(played.action_agreement)}
