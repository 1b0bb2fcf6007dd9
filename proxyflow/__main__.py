"""`python -m proxyflow`: the commands without the console script."""

from proxyflow.cli.app import main

if __name__ == "__main__":
    main()
