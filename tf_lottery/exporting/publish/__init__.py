"""What is asked for, which file is the best, the model card, and how all files are put in place together."""
