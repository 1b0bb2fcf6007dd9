"""`train` in a clone: `python -m entrypoints.train`, which MLproject calls, is `proxyflow train`."""

from proxyflow.cli.app import run_command

if __name__ == "__main__":
    run_command("train")
