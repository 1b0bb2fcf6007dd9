"""One plug-in of each kind for proxyflow: a data set, a score, a strategy and an executor."""
