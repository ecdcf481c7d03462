"""The square root of a loss next to its minimizers (Arora, Li and Panigrahi 2022)."""
