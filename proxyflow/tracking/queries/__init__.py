"""Queries: finding runs and their metrics per epoch, fast enough for reports of 20,000 trainings."""
