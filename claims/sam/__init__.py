"""Sharpness-aware minimization on quadratics: an edge that depends on the gradient, and a cycle in place of a limit."""
