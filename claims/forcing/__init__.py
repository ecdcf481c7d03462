"""What the loss over a run of gradient descent says of the curvature along its steps, and what forces it to 2/eta."""
