"""Period-2 orbits of gradient descent beyond the edge of stability (Chen and Bruna 2023)."""
