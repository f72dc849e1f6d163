"""`python -m bench`: see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench.compare import Plan, choose_peers, choose_scenarios, compare, say_on_stderr
from bench.deployment import KINDS, Order, load, mint_tokens, read_tokens, require_loopback
from bench.errors import BenchError
from bench.load.control import Effort
from bench.report.page import write_page
from bench.report.tables import facts_line, show, show_load, write_json, write_markdown
from bench.scenarios import SCENARIOS
from bench.testbed.machine import describe
from bench.testbed.network import DEFAULT, SYSTEM, enter
from bench.testbed.processes import stopped_by_signals
from gateway.errors import GatewayError

MAX_SECONDS = 600.0
RESULTS = Path(__file__).with_name("RESULTS.md")
MAX_RATE = 100_000.0
PIPED_WIDTH = 150
"""Columns of the tables when nobody says how wide the screen is."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, `compare` when none is given; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given or ["compare"])
    try:
        with stopped_by_signals():
            return int(options.run(options))
    except (BenchError, GatewayError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_load(commands.add_parser("load", help="load against a gateway that runs already"))
    _add_compare(commands.add_parser("compare", help="the gateway and its peers, side by side"))
    return parser


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="the gateway's base URL, or a template with {token}")
    parser.add_argument("--tokens", type=Path, metavar="FILE", help="one token or URL a line")
    parser.add_argument("--mint-url", metavar="URL", help="have the mint service there make the tokens")
    parser.add_argument(
        "--key", default=os.environ.get("BENCH_KEY"), help="its API key (or BENCH_KEY is set)"
    )
    parser.add_argument("--product", metavar="ID", help="what to mint tokens for")
    parser.add_argument("--product-version", metavar="VERSION", help="its version (default: the active one)")
    parser.add_argument("--count", type=_count, default=1000, help="tokens to mint (default: 1000)")
    parser.add_argument("--scenario", choices=KINDS, default="download", help="what is asked")
    parser.add_argument("--span", type=_count, default=64 << 10, help="bytes of a range (default: 65536)")
    parser.add_argument("--connections", type=_count, default=32, help="(default: 32)")
    parser.add_argument("--seconds", type=_seconds, default=10.0, help="(default: 10)")
    parser.add_argument(
        "--rate", type=float, help="requests/s, whatever the server does; default: closed loop"
    )
    parser.add_argument("--yes-i-own-this-host", action="store_true", help="load another machine than this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.set_defaults(run=run_load)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument(
        "--scenario", nargs="+", default=[], metavar="NAME", help=f"of: {names} (default: all)"
    )
    parser.add_argument(
        "--peers", nargs="+", default=[], metavar="NAME", help="beside the gateway (default: all)"
    )
    parser.add_argument("--rounds", type=_count, default=5, help="how often each is measured (default: 5)")
    parser.add_argument(
        "--seconds", type=_seconds, default=5.0, help="length of one measurement (default: 5)"
    )
    parser.add_argument("--connections", type=_count, default=32, help="of the load (default: 32)")
    parser.add_argument(
        "--tokens-count", type=_count, default=100_000, help="different tokens (default: 100000)"
    )
    parser.add_argument(
        "--congestion",
        default=DEFAULT,
        metavar="NAME",
        help=f"of TCP, in a network of its own; {SYSTEM}: in the machine's (default: {DEFAULT})",
    )
    parser.add_argument("--scratch", type=Path, help="where the temporary folder is made (default: TMPDIR)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots there")
    parser.add_argument(
        "--write-results",
        action="store_true",
        help=f"also write {RESULTS.parent.name}/{RESULTS.name}: the newest run",
    )
    parser.set_defaults(run=run_compare)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"must be from 1 to {MAX_SECONDS:g}")
    return value


def run_load(options: argparse.Namespace) -> int:
    """`load`."""
    require_loopback(options.url, own_host=options.yes_i_own_this_host)
    if options.tokens:
        tokens = read_tokens(options.tokens)
    elif options.mint_url and options.key and options.product:
        require_loopback(options.mint_url, own_host=options.yes_i_own_this_host)
        tokens = mint_tokens(
            options.mint_url, options.key, options.product, options.product_version, options.count
        )
    elif options.scenario == "refused":
        tokens = [""] * options.count
    else:
        raise BenchError("give --tokens FILE, or --mint-url, --key and --product")
    if options.rate is not None and not 0 < options.rate <= MAX_RATE:
        raise BenchError(f"--rate must be more than 0 and at most {MAX_RATE:g}")
    order = Order(
        options.url,
        options.scenario,
        options.connections,
        options.seconds,
        options.rate,
        options.span,
        options.yes_i_own_this_host,
    )
    report = load(order, tokens)
    show_load(report, Console())
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=1) + "\n")
    return 0


def run_compare(options: argparse.Namespace) -> int:
    """`compare`."""
    plan = Plan(
        scenarios=choose_scenarios(options.scenario),
        peers=choose_peers(options.peers),
        rounds=options.rounds,
        effort=Effort(options.connections, options.seconds),
        tokens=options.tokens_count,
        scratch=options.scratch,
    )
    network = enter(options.congestion).facts()  # before there is a thread or a child
    say_on_stderr(facts_line(network))
    results = compare(plan, say_on_stderr)
    show(results, network, Console(width=None if sys.stdout.isatty() else PIPED_WIDTH))
    machine = describe(network)
    settings = {
        "rounds": plan.rounds,
        "seconds": plan.effort.seconds,
        "connections": plan.effort.connections,
        "tokens": plan.tokens,
    }
    if options.json:
        write_json(options.json, results, machine, settings)
    if options.html:
        write_page(options.html, results, machine, settings)
    if options.write_results:
        write_markdown(RESULTS, results, machine, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
