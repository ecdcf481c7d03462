"""The descent lemma, where it is used and how tight it is (Shapira; Arora, Li and Panigrahi 2022)."""
