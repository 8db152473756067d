"""Other tools' archives -> model folders. Nothing in here executes what it reads; no other part of the package needs it.

The way of the data: `archive` (zip members under limits) -> `inert_pickle` (pickle byte code as plain
records) -> `torch_file` (named weights), `sb3_data` (what kind of agent), `vecnormalize` (statistics of
observations) -> `sb3_actor` (the actor as a list of `steps`) -> `graph` (ONNX) -> `model_folder`
(policy.onnx, model.yaml, self-check). `sb3` ties them together.
"""

from neurosim.exporters.sb3 import Export, export_sb3

__all__ = ["Export", "export_sb3"]
