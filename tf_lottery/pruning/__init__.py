"""The pruning core: criteria, masks, exact selection, units, rates. Pure functions over NumPy arrays."""
