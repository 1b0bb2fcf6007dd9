"""The commands that users run: each parses its options, calls proxyflow and sets the exit status."""
