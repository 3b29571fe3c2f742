"""The pruning core: criteria, masks, exact selection, units, rates per layer. Pure functions over NumPy arrays."""
