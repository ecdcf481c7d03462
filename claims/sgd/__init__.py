"""Where the mean square of SGD loses stability, and what its batches tell of it (Mulayoff and Michaeli 2024)."""
