"""Writes the configurations of a lookup table as a grid file: the default, then a sample that fills a space evenly.

    python -m benchmarks.tables.grid reports/NAME/space.yaml --n 100 --default '{"arch": "xresnet18-w16"}'

It writes `grid.yaml` beside the space. The sample is that of `SPACE.yaml@N` with seed 0.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.space import Space
from proxyflow.trainers.images.space import IMAGE_SPACE

SCHEMAS = {"images": IMAGE_SPACE, "none": None}


def configurations_of(space: Space, default: Configuration, n: int) -> list[Configuration]:
    """`n` different configurations, the default first."""
    drawn = space.sample(n, 0)
    return list(dict.fromkeys([default, *drawn]))[:n]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path, help="YAML file of the space")
    parser.add_argument("--n", type=int, default=100, help="number of configurations")
    parser.add_argument("--default", type=json.loads, default={}, help="the default configuration's values as JSON")
    parser.add_argument("--schema", choices=list(SCHEMAS), default="images", help="whose hyperparameters they are")
    args = parser.parse_args()
    schema = SCHEMAS[args.schema]
    space = Space.of(yaml.safe_load(args.space.read_text()), str(args.space), schema)
    default = (space if schema is None else schema).configuration(args.default)
    values = [dict(each) for each in configurations_of(space, default, args.n)]
    target = args.space.with_name("grid.yaml")
    head = f"# Made by python -m benchmarks.tables.grid {args.space} --n {args.n}: the default, then an even sample.\n"
    lines = "".join(f"- {json.dumps(each)}\n" for each in values)
    target.write_text(head + lines)
    print(f"{target}: {len(values)} configurations")


if __name__ == "__main__":
    main()
