"""Where gradient descent on a loss of a product ends that began beyond the edge: by one law for all losses."""
