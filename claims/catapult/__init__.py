"""Where a linear network of two layers on one sample leaves the edge behind, and where it ends (the catapult)."""
