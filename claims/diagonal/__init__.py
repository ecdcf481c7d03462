"""Which of all solutions gradient descent with large steps finds in a diagonal linear network (Even et al. 2023)."""
