"""Which singular values of a deep linear network oscillate beyond the edge of stability (Ghosh et al. 2025)."""
