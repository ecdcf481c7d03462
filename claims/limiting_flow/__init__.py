"""Phase II of Arora, Li and Panigrahi (2022): iterates drift along the manifold of minimizers."""
