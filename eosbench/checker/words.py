"""Polynomials in matrices of any size: sums of words, with rational coefficients.

A letter is a matrix or its transpose, and maps one space to another; a word is a product of letters that fit. Two rules
bring a word into its normal form, and both hold for real matrices of all sizes. Where a word passes through the space
of dimension one it falls into parts, of which those that are 1 x 1 are numbers, which commute; and such a number is
its own transpose. What is equal in normal form is therefore equal in every dimension.
"""

from collections.abc import Mapping
from fractions import Fraction

from eosbench.checker.steps import Refused

ONE = "1"
"""The space of dimension one: a column is a matrix from it, a number a matrix from it to itself."""

Letter = tuple[str, bool]  # a name, and whether it is transposed
Word = tuple[Letter, ...]
Numbers = tuple[Word, ...]  # commuting, sorted


class Alphabet:
    """The scalars and matrices of a statement. A symmetric matrix is its own transpose."""

    def __init__(self, scalars: list[str], matrices: Mapping[str, tuple[str, str]], symmetric: set[str]) -> None:
        self._shapes = {**dict.fromkeys(scalars, (ONE, ONE)), **matrices}
        self._own = symmetric | {*scalars}

    def letter(self, name: str) -> "Sum":
        """A scalar or matrix by itself."""
        shape, letter = self._shapes[name], (name, False)
        return Sum(self, shape, {((((letter,),), ()) if shape == (ONE, ONE) else ((), (letter,))): Fraction(1)})

    def names(self) -> list[str]:
        """All of them."""
        return list(self._shapes)

    def scalars(self) -> list[str]:
        """Those that are numbers."""
        return [name for name, shape in self._shapes.items() if shape == (ONE, ONE)]

    def shape(self, letter: Letter) -> tuple[str, str]:
        """(rows, columns)."""
        rows, columns = self._shapes[letter[0]]
        return (columns, rows) if letter[1] else (rows, columns)

    def transposed(self, word: Word) -> Word:
        """The transpose of a word: the letters' transposes, the other way round."""
        return tuple((name, not turned and name not in self._own) for name, turned in reversed(word))

    def normal(self, word: Word) -> tuple[Numbers, Word]:
        """The numbers that a word holds, and what is left of it."""
        parts: list[Word] = []
        start = 0
        for at, letter in enumerate(word, start=1):
            if at == len(word) or self.shape(letter)[1] == ONE:
                parts.append(word[start:at])
                start = at
        numbers, rest = [], []
        for part in parts:
            if (self.shape(part[0])[0], self.shape(part[-1])[1]) == (ONE, ONE):
                numbers.append(min(part, self.transposed(part)))
            else:
                rest.append(part)
        return tuple(sorted(numbers)), tuple(letter for part in rest for letter in part)


class Sum:
    """A sum of words of one shape."""

    def __init__(
        self, alphabet: Alphabet, shape: tuple[str, str], terms: Mapping[tuple[Numbers, Word], Fraction]
    ) -> None:
        self.alphabet, self.shape = alphabet, shape
        self.terms = {key: factor for key, factor in terms.items() if factor}

    @property
    def is_zero(self) -> bool:
        """Whether nothing is left in normal form."""
        return not self.terms

    @property
    def T(self) -> "Sum":  # noqa: N802 - as formulas write it
        """The transpose."""
        turned = {(numbers, self.alphabet.transposed(word)): a for (numbers, word), a in self.terms.items()}
        return Sum(self.alphabet, self.shape[::-1], turned)

    def __neg__(self) -> "Sum":
        return self * Fraction(-1)

    def __add__(self, other: "Sum | Fraction") -> "Sum":
        other = self._like(other)
        if self.shape != other.shape:
            raise Refused(f"a sum of matrices of the shapes {self.shape} and {other.shape}")
        terms = dict(self.terms)
        for key, factor in other.terms.items():
            terms[key] = terms.get(key, Fraction(0)) + factor
        return Sum(self.alphabet, self.shape, terms)

    __radd__ = __add__

    def __sub__(self, other: "Sum | Fraction") -> "Sum":
        return self + -self._like(other)

    def __rsub__(self, other: Fraction) -> "Sum":
        return -self + other

    def __mul__(self, other: "Sum | Fraction") -> "Sum":
        """By a number."""
        other = self._like(other)
        if (ONE, ONE) not in (self.shape, other.shape):
            raise Refused("a product by * of two matrices, which @ is for")
        return self._product(other, self.shape if other.shape == (ONE, ONE) else other.shape)

    __rmul__ = __mul__

    def __matmul__(self, other: "Sum") -> "Sum":
        if not isinstance(other, Sum) or self.shape[1] != other.shape[0]:
            raise Refused("a product by @ of matrices that do not fit")
        return self._product(other, (self.shape[0], other.shape[1]))

    def __pow__(self, power: int) -> "Sum":
        result = self._like(Fraction(1))
        for _ in range(power):
            result = result * self
        return result

    def __truediv__(self, other: object) -> "Sum":
        raise Refused("a quotient of polynomials")

    def _like(self, other: "Sum | Fraction") -> "Sum":
        return other if isinstance(other, Sum) else Sum(self.alphabet, (ONE, ONE), {((), ()): Fraction(other)})

    def _product(self, other: "Sum", shape: tuple[str, str]) -> "Sum":
        terms: dict[tuple[Numbers, Word], Fraction] = {}
        for (numbers, word), a in self.terms.items():
            for (more, end), b in other.terms.items():
                found, rest = self.alphabet.normal(word + end) if word and end else ((), word + end)
                key = tuple(sorted(numbers + more + found)), rest
                terms[key] = terms.get(key, Fraction(0)) + a * b
        return Sum(self.alphabet, shape, terms)
