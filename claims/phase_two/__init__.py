"""Phase II of Arora, Li and Panigrahi (2022): the edge of stability, and what the loss does there."""
