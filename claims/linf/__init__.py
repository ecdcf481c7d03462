"""Steepest descent in the maximum norm: which sharpness decides whether a step lowers the loss."""
