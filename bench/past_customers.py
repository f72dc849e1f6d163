"""What a seller with many past customers meets: the time and memory of an import, and how fast one is found.

    python -m bench.past_customers --rows 100000
    python -m bench.past_customers --rows 100000 --database-url postgresql://USER@HOST/NAME

It makes a file of so many rows, imports it twice with `order import`, starts `serve-web`, and asks the admin
API for customers by their addresses, one after the other. Everything lies in a temporary folder; a database
that is given is filled and not emptied. Nothing but loopback is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

PROGRAM = (sys.executable, "-m", "gateway")
DOMAINS = ("gmail.com", "example.com", "icloud.com", "web.de", "exämple.fr", "outlook.com")
START_SECONDS = 120


def write_file(path: Path, rows: int) -> None:
    """Write a file of so many orders, each of one customer."""
    with path.open("w", encoding="utf-8") as file:
        file.write("email,name,productId,quantity,orderId,number,placedAt,country\n")
        for number in range(rows):
            day = f"20{number % 10 + 15}-{number % 12 + 1:02d}-{number % 28 + 1:02d}"
            domain = DOMAINS[number % len(DOMAINS)]
            file.write(f"c{number}@{domain},Name {number},samples,1,{number},#{number},{day},DE\n")


def address(number: int) -> str:
    """The address of a customer of the file."""
    return f"c{number}@{DOMAINS[number % len(DOMAINS)]}"


def run(*words: str, env: dict[str, str]) -> tuple[dict[str, Any], str]:
    """Run a command; its wall time, CPU time and largest memory, and what it printed."""
    reader = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(used.ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", reader, *PROGRAM, *words], env=env, check=True, capture_output=True, text=True
    )
    wall = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rss = int(done.stderr.split()[-1]) // 1024
    return {"seconds": round(wall, 1), "cpuSeconds": round(cpu, 1), "rssMiB": rss}, done.stdout


def ask(port: int, key: str, rows: int, count: int) -> dict[str, float]:
    """Ask for customers by their addresses, one after the other. Milliseconds."""
    times: list[float] = []
    chosen = random.Random(1)
    for _ in range(count):
        email = urllib.parse.quote(address(chosen.randrange(rows)))
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/customers?email={email}", headers={"Authorization": f"Bearer {key}"}
        )
        begin = time.perf_counter()
        with urllib.request.urlopen(request, timeout=30) as response:
            found = json.load(response)["customers"]
        times.append((time.perf_counter() - begin) * 1000)
        assert len(found) == 1, "each address is one customer"
    times.sort()
    places = {"p50": 0.5, "p99": 0.99}
    return {name: round(times[int(place * (len(times) - 1))], 2) for name, place in places.items()}


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--database-url")
    parser.add_argument("--port", type=int, default=18083)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = {**os.environ, "GATEWAY_DATA": str(folder / "data"), "GATEWAY_LOG_LEVEL": "warning"}
        env |= {"GATEWAY_DASHBOARD_LISTEN": f"127.0.0.1:{given.port}"}
        if given.database_url:
            env["GATEWAY_DATABASE_URL"] = given.database_url
        (folder / "a.bin").write_bytes(b"x")
        run("product", "add", "samples", "1.0", str(folder / "a.bin"), env=env)
        key = json.loads(run("key", "create", "bench", "--role", "admin", "--json", env=env)[1])["key"]
        write_file(folder / "past.csv", given.rows)
        figures: dict[str, Any] = {"rows": given.rows, "load": os.getloadavg()}
        for step in ("import", "again"):
            figures[step], _ = run("order", "import", str(folder / "past.csv"), env=env)
        with subprocess.Popen([*PROGRAM, "serve-web"], env=env) as service:
            try:
                wait(given.port)
                figures["GET /api/customers?email= (ms)"] = ask(given.port, key, given.rows, given.requests)
            finally:
                service.terminate()
        print(json.dumps(figures, indent=2))


def wait(port: int) -> None:
    """Wait until the service answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    main()
