"""The line of averaging in place of a schedule, which moves as the averages grow longer (Defazio et al. 2024)."""
