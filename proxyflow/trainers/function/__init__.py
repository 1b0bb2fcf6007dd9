"""The trainer `python:MODULE:FUNCTION`: any Python function that trains, called in the worker's process."""
