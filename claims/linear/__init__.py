"""The two-layer linear network `f(x) = Aᵀ W x / √m` (Shapira, Section 5, after Li, Wang and Li 2022)."""
