"""Runs: what a run of a study needs beyond MLflow's `start_run`: claims, heartbeats, truthful ends and recovery."""
