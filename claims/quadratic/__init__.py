"""The warm-up of Arora, Li and Panigrahi (2022), on a quadratic."""
