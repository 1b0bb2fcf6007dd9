"""Configurations as values: parameters, spaces, names, grids, and the metric that says which configuration is best."""
