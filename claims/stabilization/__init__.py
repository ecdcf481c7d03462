"""Self-stabilization at the edge (Shapira, Section 4, after Damian, Nichani and Lee 2023)."""
