"""Training one model on one subset: configurations and grids (pure), models, precision, engines."""
