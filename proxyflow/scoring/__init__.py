"""How hard each training example is: the measures (pure), their table, and the scorer that trains the models."""
