"""Studies: networks x thresholds x chips x ..., on one machine or many, that may be stopped at any moment.

    study.yaml -> Study -> points -> runs (simulated once) -> chunks (priced) -> table.parquet
"""

from neurosim.explore.study.engine import Done, run_study
from neurosim.explore.study.spec import Study, read_study
from neurosim.explore.study.store import Store

__all__ = ["Done", "Store", "Study", "read_study", "run_study"]
