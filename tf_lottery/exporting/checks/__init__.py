"""What is checked: samples and labels, agreement with the Keras model, SHA-256 sums of files."""
