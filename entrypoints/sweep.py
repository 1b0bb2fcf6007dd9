"""`sweep` in a clone: `python -m entrypoints.sweep`, which MLproject calls, is `proxyflow sweep`."""

from proxyflow.cli.app import run_command

if __name__ == "__main__":
    run_command("sweep")
