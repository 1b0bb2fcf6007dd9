"""Dataset distillation: makes synthetic images by the methods of `proxyflow.strategies.distillation_methods`."""
