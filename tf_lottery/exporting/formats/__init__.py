"""The writers of `.keras` files and SavedModels."""
