"""Delivery of records to the server: a write-ahead log, a background thread and retries, so that none is lost."""
