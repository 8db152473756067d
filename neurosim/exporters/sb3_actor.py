"""Stable-Baselines3's policies: from named weights and what the archive says to the actor's steps.

| class (module)                                  | algorithms     | actor                                                        |
|-------------------------------------------------|----------------|--------------------------------------------------------------|
| ActorCriticPolicy (common)                      | PPO, A2C, TRPO | features, shared_net, policy_net, action_net                 |
| RecurrentActorCriticPolicy (common.recurrent)   | RecurrentPPO   | features, lstm_actor, policy_net, action_net                 |
| DQNPolicy (dqn), QRDQNPolicy (qrdqn)            | DQN, QR-DQN    | features, q_net / quantile_net (mean over quantiles)         |
| SACPolicy (sac), TQCPolicy (tqc)                | SAC, TQC       | features, latent_pi, mu, tanh, bounds of the actions         |
| TD3Policy (td3)                                 | TD3, DDPG      | features, mu, tanh, bounds of the actions                    |
| ARSPolicy, ARSLinearPolicy (ars)                | ARS            | features, action_net (tanh and bounds where squashed)        |

Every parameter of the archive is either used, or known to belong to critics, targets or
exploration; one that is neither is refused by name. Source: the modules named, versions 0.8 to 2.9.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neurosim.errors import LoadError
from neurosim.exporters.sb3_data import AgentData
from neurosim.exporters.sb3_weights import Weights
from neurosim.exporters.steps import (
    ACTIVATIONS,
    Activation,
    Bytes,
    ChannelsFirst,
    Clip,
    Flatten,
    Normalise,
    QuantileMean,
    Step,
    Unscale,
    zero_states,
)
from neurosim.exporters.vecnormalize import Normalisation


@dataclass(frozen=True, slots=True)
class Actor:
    """A policy's deterministic answer.

    Parameters
    ----------
    algorithm : str
        Algorithms that write this policy.
    steps : tuple of Step
    input_shape : tuple of int
    output : str
        ``logits``, ``q_values``, ``action_mean`` or ``action``.
    n_outputs : int
    action : {"argmax", "clip", "identity"}
        How the output becomes an action.
    activation, activation_from : str
        Of hidden layers, and where that is known from.
    parameters : int
        Weights and biases used.
    notes : tuple of str
    """

    algorithm: str
    steps: tuple[Step, ...]
    input_shape: tuple[int, ...]
    output: str
    n_outputs: int
    action: str
    activation: str
    activation_from: str
    parameters: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Family:
    """How a module of policies builds its actor: default activation, parameters that are none of the actor's."""

    algorithm: str
    activation: str
    others: str
    tail: Callable[[_Parts], tuple[list[Step], str]]


@dataclass(frozen=True, slots=True)
class _Parts:
    data: AgentData
    weights: Weights
    activation: str
    where: str


def actor_of(
    where: str,
    data: AgentData,
    parameters: dict[str, np.ndarray],
    normalisation: Normalisation | None = None,
    activation: str | None = None,
    channels_last: bool = False,
) -> Actor:
    """Build the actor.

    Parameters
    ----------
    where : str
        What errors call the archive.
    data : AgentData
    parameters : dict of str to ndarray
        Weights of the whole policy.
    normalisation : Normalisation, optional
        Of observations, before anything else.
    activation : str, optional
        Of hidden layers, where the archive does not say or says nothing readable.
    channels_last : bool
        Whether images come as (height, width, channels).

    Raises
    ------
    LoadError
        When the policy, a space, an option or a parameter is none that is understood.
    """
    family = _family(where, data)
    _check_options(where, data)
    kind, origin = _activation(where, data, family, activation)
    weights = Weights(where, parameters)
    head, shape, notes = _head(where, data, normalisation, channels_last)
    tail, output = family.tail(_Parts(data, weights, kind, where))
    weights.refuse_rest(family.others)
    n_outputs = _check_widths(where, [*head, *tail], shape)
    _check_actions(where, data, n_outputs)
    return Actor(
        algorithm=family.algorithm,
        steps=(*head, *tail),
        input_shape=shape,
        output=output,
        n_outputs=n_outputs,
        action="argmax" if data.actions.kind == "Discrete" else "clip" if output == "action_mean" else "identity",
        activation=kind,
        activation_from=origin,
        parameters=weights.n_used,
        notes=tuple(notes),
    )


def _family(where: str, data: AgentData) -> _Family:
    family = _FAMILIES.get(data.module)
    if family is None or data.policy not in family[1]:
        known = sorted({name for _, names in _FAMILIES.values() for name in names})
        reason = "policies with several observations (Dict) are not exported" if data.policy.startswith("MultiInput") else (
            f"its actor is not known; known are {', '.join(known)}")  # fmt: skip
        raise LoadError(f"{where}: policy {data.policy!r} of {data.module!r}: {reason}")
    return family[0]


def _check_options(where: str, data: AgentData) -> None:
    """Refuse what would change the actor and is not derived from weights."""
    extractor = str(data.policy_kwargs.get("features_extractor_class", "FlattenExtractor"))
    if not re.search(r"\bstable_baselines3\.common\.torch_layers\.(FlattenExtractor|NatureCNN)'>$|^FlattenExtractor$", extractor):
        raise LoadError(f"{where}: features_extractor_class {extractor[:80]} is not known; FlattenExtractor and NatureCNN are exported")
    lstm = data.policy_kwargs.get("lstm_kwargs") or {}
    if not isinstance(lstm, dict) or set(lstm) - {"dropout", "bias"}:
        raise LoadError(f"{where}: lstm_kwargs {str(lstm)[:80]} are not understood; only dropout and bias are")
    if data.observations.kind != "Box":
        raise LoadError(f"{where}: observations are {data.observations.kind}; one array (Box) is exported "
                        "(wrap the environment with FlattenObservation and train again)")
    if data.actions.kind not in ("Box", "Discrete"):
        raise LoadError(f"{where}: actions are {data.actions.kind}; Discrete and Box are exported")


def _activation(where: str, data: AgentData, family: _Family, wanted: str | None) -> tuple[str, str]:
    if wanted is not None:
        if wanted.lower() not in ACTIVATIONS:
            raise LoadError(f"--activation {wanted!r} is not known; choose one of {', '.join(ACTIVATIONS)}")
        return wanted.lower(), "given"
    text = data.policy_kwargs.get("activation_fn")
    if text is None:
        return family.activation, f"default of {family.algorithm}"
    match = re.fullmatch(r"<class 'torch\.nn\.modules\.(?:activation|linear)\.(\w+)'>", str(text))
    if match is None or match.group(1).lower() not in ACTIVATIONS:
        raise LoadError(f"{where}: activation_fn {str(text)[:80]} is not known; if it computes one of {', '.join(ACTIVATIONS)}, "
                        "say so with --activation")
    return match.group(1).lower(), "policy_kwargs"


def _head(
    where: str, data: AgentData, normalisation: Normalisation | None, channels_last: bool
) -> tuple[list[Step], tuple[int, ...], list[str]]:
    """Normalisation, axes and scale of observations; the input's shape; notes."""
    space = data.observations
    steps: list[Step] = []
    if normalisation is not None:
        if normalisation.mean.shape != space.shape:
            raise LoadError(f"{where}: statistics of observations of shape {normalisation.mean.shape}, the policy takes {space.shape}; "
                            "is it the file of this agent?")
        steps.append(Normalise(normalisation.mean, 1 / np.sqrt(normalisation.variance + normalisation.epsilon), normalisation.limit))
    if channels_last and (len(space.shape) != 3 or normalisation is not None):
        raise LoadError(f"{where}: --channels-last is for images without normalisation; observations have shape {space.shape}")
    steps += [ChannelsFirst()] if channels_last else []
    notes = []
    if space.is_image and data.policy_kwargs.get("normalize_images", True):
        steps.append(Bytes())
    if space.low and len(space.shape) == 1 and space.low.split()[-1].strip("[]") in ("0.", "0.0") and \
            space.high.split()[-1].strip("[]") in ("1.", "1.0") and "inf" in space.low:  # fmt: skip
        notes.append("the last observation is bounded by 0 and 1 and others are not: it may be a time feature (1 - steps / limit), "
                     "which a wrapper of the environment must append")  # fmt: skip
    shape = (*space.shape[1:], space.shape[0]) if channels_last else space.shape
    return steps, shape, notes


def _check_widths(where: str, steps: list[Step], shape: tuple[int, ...]) -> int:
    """Run the steps once on zeros; returns the number of outputs."""
    x, states = np.zeros(shape), zero_states(steps)
    for step in steps:
        try:
            x = step.value(x, states)
        except (ValueError, IndexError) as error:
            at = getattr(step, "name", type(step).__name__)
            raise LoadError(f"{where}: {at} does not fit what comes before it, of shape {x.shape} ({str(error)[:120]})") from None
    if x.ndim != 1:
        raise LoadError(f"{where}: the actor's output has shape {x.shape}, one axis is needed")
    return len(x)


def _check_actions(where: str, data: AgentData, n_outputs: int) -> None:
    n = data.actions.n if data.actions.kind == "Discrete" else math.prod(data.actions.shape)
    if n != n_outputs:
        raise LoadError(f"{where}: the actor has {n_outputs} outputs, the space of actions {n}")


def _features(parts: _Parts, *prefixes: str) -> list[Step]:
    """The features extractor at the first of `prefixes` that has weights: NatureCNN, else flattening."""
    for prefix in prefixes:
        if parts.weights.has(f"{prefix}.cnn."):
            return parts.weights.nature_cnn(prefix)
    return [Flatten()] if len(parts.data.observations.shape) > 1 else []


def _actor_critic(parts: _Parts) -> tuple[list[Step], str]:
    weights, f = parts.weights, parts.activation
    steps = _features(parts, "pi_features_extractor", "features_extractor")
    steps += weights.lstm("lstm_actor") if weights.has("lstm_actor.") else []
    steps += weights.hidden("mlp_extractor.shared_net", f) + weights.hidden("mlp_extractor.policy_net", f)
    steps.append(weights.full("action_net"))
    if parts.data.actions.kind == "Discrete":
        return steps, "logits"
    if parts.data.policy_kwargs.get("squash_output") is True:
        return [*steps, Activation("tanh"), _unscale(parts)], "action"
    return steps, "action_mean"


def _values(parts: _Parts, prefix: str) -> list[Step]:
    steps = _features(parts, f"{prefix}.features_extractor", "features_extractor")
    return steps + parts.weights.mlp(f"{prefix}.{prefix}", parts.activation)


def _dqn(parts: _Parts) -> tuple[list[Step], str]:
    return _values(parts, "q_net"), "q_values"


def _quantiles(parts: _Parts) -> tuple[list[Step], str]:
    steps, n_actions = _values(parts, "quantile_net"), parts.data.actions.n or 0
    n = steps[-1].weight.shape[0]  # type: ignore[attr-defined]
    if not n_actions or n % n_actions:
        raise LoadError(f"{parts.where}: quantile_net has {n} outputs, no multiple of {n_actions} actions")
    return [*steps, QuantileMean(n // n_actions, n_actions)], "q_values"


def _squashed(parts: _Parts) -> tuple[list[Step], str]:
    weights = parts.weights
    steps = _features(parts, "actor.features_extractor", "features_extractor")
    steps += weights.hidden("actor.latent_pi", parts.activation)
    if weights.has("actor.mu.0."):  # with state-dependent exploration the mean is clipped
        limit = parts.data.policy_kwargs.get("clip_mean", 2.0)
        if not isinstance(limit, (int, float)) or not limit > 0:
            raise LoadError(f"{parts.where}: clip_mean {limit!r} is not a positive number")
        steps += [weights.full("actor.mu.0"), Clip(float(limit))]
    else:
        steps.append(weights.full("actor.mu"))
    return [*steps, Activation("tanh"), _unscale(parts)], "action"


def _deterministic(parts: _Parts) -> tuple[list[Step], str]:
    steps = _features(parts, "actor.features_extractor", "features_extractor")
    steps += parts.weights.mlp("actor.mu", parts.activation)
    return [*steps, Activation("tanh"), _unscale(parts)], "action"


def _random_search(parts: _Parts) -> tuple[list[Step], str]:
    weights, linear = parts.weights, parts.data.policy == "ARSLinearPolicy"
    steps = _features(parts, "features_extractor")
    steps += [weights.full("action_net")] if weights.has("action_net.weight") else weights.mlp("action_net", parts.activation)
    if parts.data.actions.kind == "Discrete":
        return steps, "logits"
    if parts.data.policy_kwargs.get("squash_output", not linear):
        return [*steps, Activation("tanh"), _unscale(parts)], "action"
    return steps, "action_mean"


def _unscale(parts: _Parts) -> Unscale:
    return Unscale(*parts.data.actions.bounds(parts.where))


_CRITICS = r"log_std|value_net\.|mlp_extractor\.value_net\.|(pi_|vf_)?features_extractor\."
_ACTOR_CRITIC = _Family("PPO, A2C, TRPO", "tanh", _CRITICS, _actor_critic)
_RECURRENT = _Family("RecurrentPPO", "tanh", rf"{_CRITICS}|lstm_critic\.|critic\.", _actor_critic)
_TARGETS = r"critic\.|critic_target\.|actor_target\.|actor\.log_std|log_ent_coef"
_FAMILIES: dict[str, tuple[_Family, tuple[str, ...]]] = {
    "stable_baselines3.common.policies": (_ACTOR_CRITIC, ("ActorCriticPolicy", "ActorCriticCnnPolicy")),
    "sb3_contrib.common.recurrent.policies": (_RECURRENT, ("RecurrentActorCriticPolicy", "RecurrentActorCriticCnnPolicy")),
    "stable_baselines3.dqn.policies": (_Family("DQN", "relu", r"q_net_target\.", _dqn), ("DQNPolicy", "CnnPolicy")),
    "sb3_contrib.qrdqn.policies": (_Family("QR-DQN", "relu", r"quantile_net_target\.", _quantiles), ("QRDQNPolicy", "CnnPolicy")),
    "stable_baselines3.sac.policies": (_Family("SAC", "relu", _TARGETS, _squashed), ("SACPolicy", "CnnPolicy")),
    "sb3_contrib.tqc.policies": (_Family("TQC", "relu", _TARGETS, _squashed), ("TQCPolicy", "CnnPolicy")),
    "stable_baselines3.td3.policies": (_Family("TD3, DDPG", "relu", _TARGETS, _deterministic), ("TD3Policy", "CnnPolicy")),
    "sb3_contrib.ars.policies": (_Family("ARS", "relu", r"$^", _random_search), ("ARSPolicy", "ARSLinearPolicy")),
}
"""Module of the policy's class -> family, names of classes."""
