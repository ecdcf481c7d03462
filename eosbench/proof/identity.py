"""Identities between polynomials, checked coefficient by coefficient in exact integer arithmetic."""

from dataclasses import dataclass

from flint import fmpz_mpoly, fmpz_mpoly_ctx

Polynomial = fmpz_mpoly


def variables(*names: str) -> tuple[Polynomial, ...]:
    """Generators of the ring of polynomials with integer coefficients in these variables."""
    return tuple(fmpz_mpoly_ctx.get(names).gens())


@dataclass(frozen=True)
class IdentityCertificate:
    """Equations between polynomials of one ring: (name, left, right)."""

    equations: tuple[tuple[str, Polynomial, Polynomial], ...]

    @property
    def verified(self) -> bool:
        """Whether both sides of each have the same coefficients."""
        return bool(self.equations) and all(left == right for _, left, right in self.equations)

    def describe(self) -> dict[str, float | int | str]:
        """The equations by name, and how many of them fail."""
        failed = [name for name, left, right in self.equations if left != right]
        return {
            "equations": "; ".join(name for name, _, _ in self.equations),
            "count": len(self.equations),
            "failed": "; ".join(failed) or "none",
        }
