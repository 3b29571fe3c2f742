"""What is exported: the model behind a run, a ticket or a file, and the data that it was trained on."""
