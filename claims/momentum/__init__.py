"""Where gradient descent with momentum loses stability on a quadratic (in the setting of Cohen et al. 2021)."""
