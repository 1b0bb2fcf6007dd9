"""The built-in image classifier: its space and grids, networks, precision, and two engines."""
