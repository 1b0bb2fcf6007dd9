"""The commands: what a user types becomes calls, and what ends them becomes a message and an exit status."""
