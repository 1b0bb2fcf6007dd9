"""`report` in a clone: `python -m entrypoints.report`, which MLproject calls, is `proxyflow report`."""

from proxyflow.cli.app import run_command

if __name__ == "__main__":
    run_command("report")
