"""Gradient descent beyond the edge of stability balances the factors of a product (Chen and Bruna 2023)."""
