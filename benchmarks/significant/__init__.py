"""Parts of benchmarks/significant_multiplications.py."""
