"""`main` in a clone: `python -m entrypoints.main`, which MLproject calls, is `proxyflow main`."""

from proxyflow.cli.app import run_command

if __name__ == "__main__":
    run_command("main")
