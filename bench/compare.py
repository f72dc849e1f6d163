"""Side by side: each scenario with all its participants, which are started here, in alternating rounds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.load.control import LoadOptions
from bench.peers import PEERS
from bench.report.figures import FIGURES, Result, Sample
from bench.scenarios import SCENARIOS, Participant, Scenario
from bench.testbed.machine import Cores
from bench.testbed.processes import ProcessGroup, raise_file_limit
from bench.testbed.testbed import Testbed

ProgressReport = Callable[[str], None]
"""Called with one line of text after each step."""


@dataclass(frozen=True)
class ComparisonPlan:
    """What to compare. peers: their names, in the order of a round. tokens: how many of each kind."""

    scenarios: tuple[Scenario, ...]
    peers: tuple[str, ...]
    rounds: int
    options: LoadOptions
    tokens: int
    scratch: Path | None = None


def choose_scenarios(names: Sequence[str]) -> tuple[Scenario, ...]:
    """The scenarios with these names; `large` means `large-1` and `large-32`; no names mean all scenarios.

    Raises BenchError for an unknown name.
    """
    if not names:
        return SCENARIOS
    for name in names:
        if not any(_has_name(scenario, name) for scenario in SCENARIOS):
            known = ", ".join(scenario.name for scenario in SCENARIOS)
            raise BenchError(f"there is no scenario {name!r}; there are {known}")
    return tuple(scenario for scenario in SCENARIOS if any(_has_name(scenario, name) for name in names))


def _has_name(scenario: Scenario, name: str) -> bool:
    if any(each.name == name for each in SCENARIOS):  # `small` is one scenario, and `small-chrome` another
        return scenario.name == name
    return scenario.name.startswith(f"{name}-")


def choose_peers(names: Sequence[str]) -> tuple[str, ...]:
    """The peers with these names; the gateway is always the first. Raises BenchError for an unknown name."""
    for name in names:
        if name not in PEERS:
            raise BenchError(f"there is no peer {name!r}; there are {', '.join(PEERS)}")
    return ("gateway", *(name for name in (names or PEERS) if name != "gateway"))


def compare(plan: ComparisonPlan, report: ProgressReport) -> list[Result]:
    """Run the whole comparison. Raises BenchError if nothing can be measured at all."""
    cores = Cores.divide()
    if not cores.apart:
        report("there is only one CPU: load and server share it, so the figures say little")
    raise_file_limit()
    results = []
    with Testbed(cores, tokens=plan.tokens, scratch=plan.scratch) as testbed:
        for scenario in plan.scenarios:
            result = scenario.result()
            results.append(result)
            reason = scenario.unavailable()
            if reason is not None:
                result.notes.append(reason)
                report(f"{scenario.name}: not measured: {reason}")
                continue
            _run(scenario, plan, testbed, result, report)
    return results


def _run(
    scenario: Scenario, plan: ComparisonPlan, testbed: Testbed, result: Result, report: ProgressReport
) -> None:
    """Run all rounds of one scenario, and add their samples to the result."""
    rounds = 1 if scenario.once else plan.rounds
    with ProcessGroup(testbed.folder) as processes:
        participants = []
        for participant in scenario.participants(plan.peers, testbed):
            reason = _absence(scenario, participant)
            if reason is None:
                participants.append(participant)
            else:
                result.absent[participant.label] = reason
                report(f"{scenario.name}: {participant.label} takes no part: {reason}")
        for number in range(1, rounds + 1):
            for participant in list(participants):
                label = participant.label
                try:
                    sample = _measure(scenario, participant, testbed, processes, plan.options)
                except BenchError as error:
                    result.absent[label] = str(error)
                    result.rounds.pop(label, None)
                    participants.remove(participant)
                    report(f"{scenario.name}: {label} is out: {error}")
                    continue
                result.rounds.setdefault(label, []).append(sample)
                report(f"{scenario.name} {number}/{rounds} {label}: {_summary(sample, scenario.shown)}")


def _absence(scenario: Scenario, participant: Participant) -> str | None:
    """Why a participant cannot take part, or None."""
    if not participant.peer:
        return None
    peer = PEERS[participant.peer]
    return scenario.exclusion(peer.kinds, checks=peer.checks) or peer.missing(participant.options)


def _measure(
    scenario: Scenario,
    participant: Participant,
    testbed: Testbed,
    processes: ProcessGroup,
    options: LoadOptions,
) -> Sample:
    """One round of one participant. Its server is started if it does not run yet."""
    if participant.peer and participant.server is None:
        participant.server = PEERS[participant.peer].start(testbed, processes, participant.options)
    try:
        if participant.server is not None:
            participant.server.program.check()
        return scenario.measure(testbed, participant, options)
    finally:
        if scenario.fresh and participant.server is not None:
            processes.stop(participant.server.program)
            participant.server = None


def _summary(sample: Sample, shown: Sequence[str]) -> str:
    parts = []
    for name in shown:
        if name in sample:
            figure = FIGURES[name]
            parts.append(f"{figure.title} {sample[name]:,.{figure.digits}f} {figure.unit}")
    return " · ".join(parts)


def print_progress(text: str) -> None:
    """Print a line to standard error, for the person who waits."""
    print(text, file=sys.stderr, flush=True)
