"""Utilities that every other package may import; imports no other package of the project."""
