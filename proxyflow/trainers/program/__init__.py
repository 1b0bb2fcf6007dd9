"""The trainer `program`: any command that trains, run as a process of its own."""
