"""Where a flow for the mean of gradient descent fails that keeps the sharpness at most 2/eta."""
