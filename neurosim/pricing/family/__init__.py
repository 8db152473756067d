"""Many mappings of one run priced together: the same figures as `neurosim.pricing.price`, thousands at a time.

In the order in which they are used:

cells       tables of the run's activity over boxes, and whether a mapping can be counted in boxes
tabulate    fills the tables from the events
terms       the counts of every slice as sums of table rows
core_work   counts x times of one chip: the work of its cores
price       the slowest core, the busiest link and the longest message of every level; reports
"""

from neurosim.pricing.family.cells import why_not
from neurosim.pricing.family.price import price_family

__all__ = ["price_family", "why_not"]
