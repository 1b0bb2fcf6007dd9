"""The MLflow UI: saved views of a study, and links between its runs."""
