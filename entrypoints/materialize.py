"""`materialize` in a clone: `python -m entrypoints.materialize`, which MLproject calls, is `proxyflow materialize`."""

from proxyflow.cli.app import run_command

if __name__ == "__main__":
    run_command("materialize")
