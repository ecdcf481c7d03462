"""Where descent by two evaluations of the loss loses stability in the mean square (Song et al. 2026)."""
