"""Artifacts: transfers that retry, resume and verify, and a cache of what this machine has downloaded."""
