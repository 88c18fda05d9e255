"""What `python -m longshore_jsonl` does: print the schema of the lines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from longshore_jsonl._schema import cloudevents_schema, lines_schema


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m longshore_jsonl", description="What the sink jsonl writes.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    schema = commands.add_parser("schema", help="print the JSON Schema of a line")
    schema.add_argument(
        "--format", choices=("native", "cloudevents"), default="native", help="of which form of lines (native)"
    )
    wanted = parser.parse_args(arguments)
    made = cloudevents_schema() if wanted.format == "cloudevents" else lines_schema()
    print(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
