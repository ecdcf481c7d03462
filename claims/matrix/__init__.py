"""Matrix factorization beyond the edge of stability (Chen and Bruna 2023, IV)."""
