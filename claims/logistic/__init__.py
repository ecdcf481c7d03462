"""Gradient descent on logistic regression that is not separable, below the critical step size (Meng et al. 2024)."""
