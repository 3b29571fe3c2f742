"""One job of an experiment: where it starts, its training and its commit; the processes that run jobs."""
