"""How flat the minima of deep networks can be (Marion and Chizat 2024)."""
