"""Rows of tables: CSV, Parquet and JSON lines, or arrays in memory."""
