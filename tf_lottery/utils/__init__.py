"""What every room may use: files, child processes, seeds, messages, HTML, and the machine. No TensorFlow on import."""
