"""`score` in a clone: `python -m entrypoints.score`, which MLproject calls, is `proxyflow score`."""

from proxyflow.cli.app import run_command

if __name__ == "__main__":
    run_command("score")
