"""The demonstration: a bundled policy plays its task as delta events, and two chips and a dense machine are priced."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neurosim.chip import Chip
from neurosim.control import rollout
from neurosim.control.rollout import Progress
from neurosim.errors import LoadError
from neurosim.explore import compare
from neurosim.loaders import load
from neurosim.model_card import read_card
from neurosim.transforms import set_thresholds
from neurosim.view.compare import compare_table
from neurosim.view.tables import network_table, rollout_table

CHIPS = ("loihi2", "grai_one", "horowitz_int8_sram")
THRESHOLD = 0.02
PERIOD_S = 0.02
"""LunarLander and CartPole decide 50 times a second."""


def bundled_model() -> Path:
    """Folder of the policy to demonstrate: LunarLander where Box2D is installed, else CartPole.

    Raises
    ------
    LoadError
        When the package was installed without its models.
    """
    name = "lunarlander_dqn" if find_spec("Box2D") else "cartpole_ppo"
    places = [Path(__file__).parents[2] / "models", Path(sys.prefix) / "share" / "neurosim" / "models"]
    for place in places:
        if (place / name / "model.yaml").is_file():
            return place / name
    raise LoadError(f"the bundled model {name} is missing; looked in {' and '.join(map(str, places))}")


def demonstrate(episodes: int, progress: Progress | None = None) -> tuple[dict[str, Any], list[Any]]:
    """Play and price. Returns the JSON document and the tables."""
    folder = bundled_model()
    card = read_card(folder / "model.yaml")
    assert card.env is not None  # bundled models are policies
    network = set_thresholds(load(folder), THRESHOLD)
    result = rollout(network, card.env.id, episodes=episodes, seed=0, action=card.action, progress=progress)
    chips = compare(result.trace, [Chip.load(name) for name in CHIPS], period_s=PERIOD_S)
    document = {
        "schema": "neurosim.demo/1",
        "model": card.name,
        "threshold": THRESHOLD,
        "rollout": result.to_dict(),
        "compare": chips.to_json(),
    }
    return document, [network_table(network), rollout_table(result), compare_table(chips)]
