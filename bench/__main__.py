"""`python -m bench`: see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import events, flood, inbox, rates
from bench.compare import ComparisonPlan, choose_peers, choose_scenarios, compare, print_progress
from bench.deployment import KINDS, LoadPlan, load, mint_tokens, read_tokens, require_loopback
from bench.errors import BenchError
from bench.load.control import LoadOptions
from bench.load.webhooks import WEBHOOKS
from bench.option_types import count, folder, rate, result_file, seconds
from bench.pages import measuring
from bench.report.page import write_page
from bench.report.tables import facts_line, show, show_load, write_json, write_markdown
from bench.scenarios import SCENARIOS
from bench.testbed.machine import describe
from bench.testbed.network import DEFAULT, SYSTEM, enter
from bench.testbed.processes import stopped_by_signals
from gateway.errors import GatewayError

RESULTS = Path(__file__).with_name("RESULTS.md")
PIPED_WIDTH = 150
"""The width of the tables in columns where the output is no screen."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, `compare` if none is given; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words or ["compare"])
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
    _add_load(commands.add_parser("load", help="load a gateway that runs already"))
    _add_inbox(
        commands.add_parser("inbox", help="measure how many webhooks the inbox takes, and that none is lost")
    )
    _add_events(commands.add_parser("events", help="measure how many events of usage a database takes"))
    _add_flood(
        commands.add_parser("flood", help="measure what a flood of unknown tokens does to honest clients")
    )
    _add_rates(
        commands.add_parser("rates", help="measure how exactly the connections of a token share a rate")
    )
    _add_pages(commands.add_parser("pages", help="measure each page beside many customers and downloads"))
    _add_compare(commands.add_parser("compare", help="measure the gateway and its peers side by side"))
    return parser


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="the gateway's base URL, or a template with {token}")
    parser.add_argument(
        "--tokens", type=Path, metavar="FILE", help="a file with one token or URL on each line"
    )
    parser.add_argument("--mint-url", metavar="URL", help="request the tokens from the mint service there")
    parser.add_argument(
        "--key", default=os.environ.get("BENCH_KEY"), help="its API key (default: the variable BENCH_KEY)"
    )
    parser.add_argument("--product", metavar="ID", help="the product to mint tokens for")
    parser.add_argument(
        "--product-version", metavar="VERSION", help="the product's version (default: the active one)"
    )
    parser.add_argument("--count", type=count, default=1000, help="how many tokens to mint (default: 1000)")
    parser.add_argument(
        "--scenario", choices=KINDS, default="download", help="what to request (default: download)"
    )
    parser.add_argument("--span", type=count, default=64 << 10, help="bytes of each range (default: 65536)")
    parser.add_argument("--connections", type=count, default=32, help="of the load (default: 32)")
    parser.add_argument("--seconds", type=seconds, default=10.0, help="how long to load (default: 10)")
    parser.add_argument(
        "--rate", type=rate, help="requests/s, whatever the server does (default: a closed loop)"
    )
    parser.add_argument(
        "--yes-i-own-this-host", action="store_true", help="load a machine other than this one"
    )
    parser.add_argument("--json", type=result_file, metavar="FILE", help="write the figures to this file")
    parser.set_defaults(run=run_load)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument(
        "--scenario",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"scenarios to run, of: {names} (default: all)",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        default=[],
        metavar="NAME",
        help="peers to measure beside the gateway (default: all)",
    )
    parser.add_argument("--rounds", type=count, default=5, help="how often each is measured (default: 5)")
    parser.add_argument(
        "--seconds", type=seconds, default=5.0, help="the length of one measurement (default: 5)"
    )
    parser.add_argument("--connections", type=count, default=32, help="of the load (default: 32)")
    parser.add_argument(
        "--tokens-count", type=count, default=100_000, help="how many tokens there are (default: 100000)"
    )
    parser.add_argument(
        "--congestion",
        default=DEFAULT,
        metavar="NAME",
        help=f"TCP's congestion control, in a network namespace; {SYSTEM}: the machine's network as it is "
        f"(default: {DEFAULT})",
    )
    parser.add_argument(
        "--scratch", type=folder, help="make the temporary folder in this one (default: TMPDIR)"
    )
    parser.add_argument(
        "--json", type=result_file, metavar="FILE", help="write every round's figures to this file"
    )
    parser.add_argument(
        "--html", type=result_file, metavar="FILE", help="write a page with plots to this file"
    )
    parser.add_argument(
        "--write-results",
        action="store_true",
        help=f"also write {RESULTS.parent.name}/{RESULTS.name}, the results of the newest run",
    )
    parser.set_defaults(run=run_compare)


def _add_inbox(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        default="sqlite",
        metavar="KIND",
        help="sqlite, postgresql (Debian's, started for this), or a database_url (default: sqlite)",
    )
    parser.add_argument("--rate", type=rate, default=1000.0, help="events a second (default: 1000)")
    parser.add_argument("--seconds", type=seconds, default=60.0, help="how long to send (default: 60)")
    parser.add_argument("--connections", type=count, default=256, help="of the platforms (default: 256)")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=[kind.name for kind in WEBHOOKS],
        default=[kind.name for kind in WEBHOOKS],
        help="the platforms that send, in turn (default: all)",
    )
    parser.add_argument("--kill", action="store_true", help="kill the web process in the middle")
    parser.add_argument("--junk", action="store_true", help="send wrong signatures: nothing may be stored")
    parser.add_argument("--scratch", type=folder, help="make the temporary folder in this one (a real disk)")
    parser.add_argument("--json", type=result_file, metavar="FILE", help="write the figures to this file")
    parser.set_defaults(run=run_inbox)


def _add_events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        default="sqlite",
        metavar="KIND",
        help="sqlite, postgresql (Debian's, started for this), or the database_url of an empty database "
        "(default: sqlite)",
    )
    parser.add_argument(
        "--events", type=count, default=1_000_000, help="how many to apply (default: 1000000)"
    )
    parser.add_argument("--scratch", type=folder, help="make the temporary folder in this one (a real disk)")
    parser.add_argument("--json", type=result_file, metavar="FILE", help="write the figures to this file")
    parser.set_defaults(run=run_events)


def _add_flood(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=rate, default=10_000.0, help="unknown tokens a second (default: 10000)"
    )
    parser.add_argument(
        "--addresses", type=count, default=1, help="client addresses they come from (default: 1)"
    )
    parser.add_argument(
        "--honest-rate", type=rate, default=300.0, help="honest requests a second (default: 300)"
    )
    parser.add_argument("--seconds", type=seconds, default=15.0, help="of each part (default: 15)")
    parser.add_argument("--workers", type=count, default=2, help="of the gateway (default: 2)")
    parser.add_argument("--connections", type=count, default=64, help="of the flood (default: 64)")
    parser.add_argument(
        "--direct", action="store_true", help="the flood's one address is connected without a front proxy"
    )
    parser.add_argument("--scratch", type=folder, help="make the temporary folder in this one")
    parser.add_argument("--json", type=result_file, metavar="FILE", help="write the figures to this file")
    parser.set_defaults(run=run_flood)


def _add_rates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=count, default=1_000_000, help="bytes a second of the token (default: 1000000)"
    )
    parser.add_argument(
        "--connections", type=count, default=20, help="that download with it at once (default: 20)"
    )
    parser.add_argument("--workers", type=count, default=2, help="of the gateway (default: 2)")
    parser.add_argument("--seconds", type=seconds, default=15.0, help="how long to measure (default: 15)")
    parser.add_argument("--scratch", type=folder, help="make the temporary folder in this one")
    parser.add_argument("--json", type=result_file, metavar="FILE", help="write the figures to this file")
    parser.set_defaults(run=run_rates)


def _add_pages(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        default="sqlite",
        metavar="KIND",
        help="sqlite, postgresql (Debian's, started for this), or the database_url of a database that is "
        "empty, or that this command has filled with the same counts (default: sqlite)",
    )
    parser.add_argument("--customers", type=count, default=100_000, help="how many (default: 100000)")
    parser.add_argument("--downloads", type=count, default=1_000_000, help="how many (default: 1000000)")
    parser.add_argument(
        "--rounds", type=count, default=5, help="how often each page is opened after its first (default: 5)"
    )
    parser.add_argument("--scratch", type=folder, help="make the temporary folder in this one")
    parser.add_argument("--json", type=result_file, metavar="FILE", help="write the figures to this file")
    parser.set_defaults(run=run_pages)


def run_load(options: argparse.Namespace) -> int:
    """Run the command `load`."""
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
    plan = LoadPlan(
        options.url,
        options.scenario,
        options.connections,
        options.seconds,
        options.rate,
        options.span,
        options.yes_i_own_this_host,
    )
    report = load(plan, tokens)
    show_load(report, Console())
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=1) + "\n")
    return 0


def run_inbox(options: argparse.Namespace) -> int:
    """Run the command `inbox`. Returns 1 where an event was lost, or was stored twice."""
    report = inbox.measure(
        inbox.InboxPlan(
            options.database,
            options.rate,
            options.seconds,
            options.connections,
            tuple(options.kinds),
            options.kill,
            options.junk,
            options.scratch,
        )
    )
    inbox.show(report, _console())
    if options.json:
        inbox.write_json(report, options.json)
    return int(bool(report.lost or report.doubled or (options.junk and report.stored)))


def _console() -> Console:
    """Standard output, with a width for tables where it is no screen."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)


def _write_figures(path: Path, figures: dict[str, Any]) -> None:
    path.write_text(json.dumps(figures, indent=1, default=str) + "\n")


def run_events(options: argparse.Namespace) -> int:
    """Run the command `events`."""
    plan = events.EventsPlan(options.events, options.database, scratch=options.scratch)
    report = events.measure(plan, print_progress)
    events.show(report, _console())
    if options.json:
        _write_figures(options.json, asdict(report) | {"events_per_second": report.events_per_second})
    return 0


def run_flood(options: argparse.Namespace) -> int:
    """Run the command `flood`."""
    if options.direct and options.addresses != 1:
        raise BenchError("a flood with --direct comes from one address: leave --addresses out")
    plan = flood.FloodPlan(
        options.rate,
        options.addresses,
        options.honest_rate,
        options.seconds,
        options.workers,
        options.connections,
        options.direct,
        options.scratch,
    )
    report = flood.measure(plan, print_progress)
    flood.show(report, _console())
    if options.json:
        _write_figures(options.json, asdict(report) | {"p99_ratio": report.p99_ratio})
    return 0


def run_rates(options: argparse.Namespace) -> int:
    """Run the command `rates`."""
    plan = rates.RatesPlan(
        options.rate, options.connections, options.workers, options.seconds, options.scratch
    )
    report = rates.measure(plan, print_progress)
    rates.show(report, _console())
    if options.json:
        _write_figures(options.json, asdict(report) | {"share": report.share})
    return 0


def run_pages(options: argparse.Namespace) -> int:
    """Run the command `pages`. Returns 1 where a page is above its budget."""
    plan = measuring.PagesPlan(
        options.database, options.customers, options.downloads, options.rounds, options.scratch
    )
    report = measuring.measure(plan, print_progress)
    measuring.show(report, _console())
    if options.json:
        measuring.write_json(report, options.json)
    return int(bool(report.above))


def run_compare(options: argparse.Namespace) -> int:
    """Run the command `compare`."""
    plan = ComparisonPlan(
        scenarios=choose_scenarios(options.scenario),
        peers=choose_peers(options.peers),
        rounds=options.rounds,
        options=LoadOptions(options.connections, options.seconds),
        tokens=options.tokens_count,
        scratch=options.scratch,
    )
    entered = enter(options.congestion)  # before there is a thread or a child
    network = entered.facts()
    print_progress(facts_line(network))
    if warning := entered.warning():
        print_progress(warning)
    results = compare(plan, print_progress)
    show(results, network, _console())
    machine = describe(network)
    settings = {
        "rounds": plan.rounds,
        "seconds": plan.options.seconds,
        "connections": plan.options.connections,
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
