"""Studies: what has to run (`plan`), how one run is made and logged (`scores`, `subsets`, `trainings`), and the
whole of it with resuming (`study`)."""
