"""The line of Adam, a statement about its preconditioned Hessian (Cohen et al. 2022)."""
