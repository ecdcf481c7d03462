"""What the critical sharpness, 2 over the step size at which the loss ceases to fall, says of the sharpness."""
