"""The sharpness of the minimizer to which gradient flow would go from here, as gradient descent goes on (GFS)."""
