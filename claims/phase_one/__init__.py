"""Phase I of Arora, Li and Panigrahi (2022): the iterates follow gradient flow down to the manifold of minimizers."""
