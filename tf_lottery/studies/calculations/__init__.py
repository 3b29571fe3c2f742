"""Calculations on networks, weights, masks and inputs that studies use; none of them reads a run directory."""
