"""Finding tickets for a Keras user: `find_ticket` takes a model and data as `fit` does."""
