"""Where weight decay moves the line of an optimizer, added to the gradient or to the step."""
