"""Which minima gradient descent converges to, from almost every start and from exceptional ones."""
