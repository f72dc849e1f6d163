"""Side by side: every scenario, every contestant started by us, in alternating rounds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.load.control import Effort
from bench.peers import PEERS
from bench.report.figures import FIGURES, Result, Sample
from bench.scenarios import SCENARIOS, Contestant, Scenario
from bench.testbed.machine import Cores
from bench.testbed.processes import Crew, raise_file_limit
from bench.testbed.testbed import Ground

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to compare. peers: by name, in the order of a round."""

    scenarios: tuple[Scenario, ...]
    peers: tuple[str, ...]
    rounds: int
    effort: Effort
    tokens: int
    scratch: Path | None = None


def choose_scenarios(names: Sequence[str]) -> tuple[Scenario, ...]:
    """The scenarios of these names, `large` meaning `large-1` and `large-32`; all without names.

    Raises BenchError for an unknown name.
    """
    if not names:
        return SCENARIOS
    for name in names:
        if not any(_named(scenario, name) for scenario in SCENARIOS):
            known = ", ".join(scenario.name for scenario in SCENARIOS)
            raise BenchError(f"there is no scenario {name!r}; there are {known}")
    return tuple(scenario for scenario in SCENARIOS if any(_named(scenario, name) for name in names))


def _named(scenario: Scenario, name: str) -> bool:
    return scenario.name == name or scenario.name.startswith(f"{name}-")


def choose_peers(names: Sequence[str]) -> tuple[str, ...]:
    """The peers of these names, the gateway always and first. Raises BenchError for an unknown name."""
    for name in names:
        if name not in PEERS:
            raise BenchError(f"there is no peer {name!r}; there are {', '.join(PEERS)}")
    return ("gateway", *(name for name in (names or PEERS) if name != "gateway"))


def compare(plan: Plan, say: Say) -> list[Result]:
    """Run it all; `say` is told of each step. Raises BenchError when nothing can be measured at all."""
    cores = Cores.divide()
    if not cores.apart:
        say("only one CPU may be used: load and server share it, and the figures say little")
    raise_file_limit()
    results = []
    with Ground(cores, tokens=plan.tokens, scratch=plan.scratch) as ground:
        for scenario in plan.scenarios:
            result = scenario.result()
            results.append(result)
            reason = scenario.unable()
            if reason is not None:
                result.notes.append(reason)
                say(f"{scenario.name}: not measured: {reason}")
                continue
            _run(scenario, plan, ground, result, say)
    return results


def _run(scenario: Scenario, plan: Plan, ground: Ground, result: Result, say: Say) -> None:
    """All rounds of one scenario."""
    rounds = 1 if scenario.once else plan.rounds
    with Crew(ground.folder) as crew:
        contestants = []
        for contestant in scenario.contestants(plan.peers, ground):
            reason = _absence(scenario, contestant)
            if reason is None:
                contestants.append(contestant)
            else:
                result.absent[contestant.label] = reason
                say(f"{scenario.name}: {contestant.label} takes no part: {reason}")
        for number in range(1, rounds + 1):
            for contestant in list(contestants):
                try:
                    sample = _measure(scenario, contestant, ground, crew, plan.effort)
                except BenchError as error:
                    result.absent[contestant.label] = str(error)
                    result.rounds.pop(contestant.label, None)
                    contestants.remove(contestant)
                    say(f"{scenario.name}: {contestant.label} is out: {error}")
                    continue
                result.rounds.setdefault(contestant.label, []).append(sample)
                say(f"{scenario.name} {number}/{rounds} {contestant.label}: {_brief(sample, scenario.shown)}")


def _absence(scenario: Scenario, contestant: Contestant) -> str | None:
    """Why a contestant cannot take part, or None."""
    if not contestant.peer:
        return None
    peer = PEERS[contestant.peer]
    return scenario.suits(peer.kinds, checks=peer.checks) or peer.missing(contestant.options)


def _measure(
    scenario: Scenario, contestant: Contestant, ground: Ground, crew: Crew, effort: Effort
) -> Sample:
    """One round of one contestant, whose server is started when it does not run yet."""
    if contestant.peer and contestant.server is None:
        contestant.server = PEERS[contestant.peer].start(ground, crew, contestant.options)
    try:
        if contestant.server is not None:
            contestant.server.program.check()
        return scenario.measure(ground, contestant, effort)
    finally:
        if scenario.fresh and contestant.server is not None:
            crew.stop(contestant.server.program)
            contestant.server = None


def _brief(sample: Sample, shown: Sequence[str]) -> str:
    parts = []
    for name in shown:
        if name in sample:
            figure = FIGURES[name]
            parts.append(f"{figure.title} {sample[name]:,.{figure.digits}f} {figure.unit}")
    return " · ".join(parts)


def say_on_stderr(text: str) -> None:
    """Progress, for a person who waits."""
    print(text, file=sys.stderr, flush=True)
