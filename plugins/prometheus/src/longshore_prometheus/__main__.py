"""`python -m longshore_prometheus board|rules` prints the Grafana board, or the alert rules, of the sink."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files

_FILES = {"board": "board.json", "rules": "rules.yml"}
_HELP = """\
board   a Grafana board, as JSON: Dashboards, New, Import
rules   alert rules for Prometheus, as YAML: name the file under rule_files

  python -m longshore_prometheus board > longshore.json
  python -m longshore_prometheus rules > /etc/prometheus/longshore.yml
"""


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m longshore_prometheus",
        description="Print what comes with the sink prometheus for Grafana and Prometheus.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=list(_FILES), help="which of them")
    name = _FILES[parser.parse_args().what]
    sys.stdout.write((files("longshore_prometheus") / name).read_text("utf-8"))


if __name__ == "__main__":
    main()
