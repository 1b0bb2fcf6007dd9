"""Studies: the plan (`plan`), one module per kind of run (`scores`, `trainings`, ...), the whole (`study`)."""
