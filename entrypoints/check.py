"""`check` in a clone: `python -m entrypoints.check`, which MLproject calls, is `proxyflow check`."""

from proxyflow.cli.app import run_command

if __name__ == "__main__":
    run_command("check")
