"""The commands where proxyflow is not installed; what they do is in `proxyflow.cli`."""
