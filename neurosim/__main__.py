"""``python -m neurosim``."""

from neurosim.cli import main

main()
