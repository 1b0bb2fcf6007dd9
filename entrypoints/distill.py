"""`distill` in a clone: `python -m entrypoints.distill`, which MLproject calls, is `proxyflow distill`."""

from proxyflow.cli.app import run_command

if __name__ == "__main__":
    run_command("distill")
