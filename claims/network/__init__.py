"""Networks at the edge of stability along their top eigenvector, on real images (Chen and Bruna 2023, observations)."""
