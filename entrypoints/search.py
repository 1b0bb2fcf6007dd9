"""`search` in a clone: `python -m entrypoints.search`, which MLproject calls, is `proxyflow search`."""

from proxyflow.cli.app import run_command

if __name__ == "__main__":
    run_command("search")
