"""What a pruned model's zeros are worth at run time, operation by operation; and whether this installation works."""
