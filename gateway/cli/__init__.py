"""The commands. `main` is the console script `download-gateway`.

Every command writes its result to standard output (with `--json` nothing but JSON) and everything else to
standard error. An error is one line that says what is wrong and what to do about it, without a traceback.

    exit code   0 done   1 an error   2 wrong usage   130 Ctrl-C   141 the reader of our output has gone away
"""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from gateway.errors import ConfigurationError, GatewayError
from gateway.runtime import signals

PROGRAM: Final = "download-gateway"
FAULT: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 128 + signal.SIGINT
READER_GONE: Final = 128 + signal.SIGPIPE

_CREDENTIALS: Final = re.compile(r"://[^/@\s]*@")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Without `arguments`, those of the process are used."""
    if arguments is None:  # the process is ours: its first second must outlive stray signals, too
        signals.ignore(*signals.STRAY, signals.REOPEN)
    from gateway.cli.options import debugging  # noqa: PLC0415 - typer and rich are slow to import

    if isinstance(sys.stdout, io.TextIOWrapper):  # escapes what the locale's encoding cannot write
        sys.stdout.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(given)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # typer itself exits, for this reason only
        # Nobody reads our output any more. Without this, Python would report an error when it flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return READER_GONE
    except KeyboardInterrupt:
        return _print_error("interrupted", INTERRUPTED)
    except Exception as error:  # a person must not see a traceback without asking for it
        if debugging(given):
            traceback.print_exc()
            return FAULT
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return _print_error(
            f"unexpected error: {text} (--debug or GATEWAY_DEBUG=1 shows the traceback)", FAULT
        )
    return code


@cache  # to make the 76 commands takes 0.1 s
def _commands() -> Any:
    """All commands, of which the first one is the program itself."""
    from typer.main import get_command  # noqa: PLC0415 - typer and rich are slow to import

    from gateway.cli.app import root  # noqa: PLC0415 - the same; processes of services need neither

    return get_command(root)


def _run(arguments: Sequence[str]) -> int:
    from typer import Abort, TyperException  # noqa: PLC0415

    from gateway.cli.usage import describe_usage  # noqa: PLC0415

    try:
        code = _commands()(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except ConfigurationError as error:
        for fault in error.faults:
            _print_error(fault, FAULT)
        return FAULT
    except GatewayError as error:
        return _print_error(" ".join(str(error).split()), FAULT)
    except TyperException as error:
        if not error.format_message():
            return USAGE  # a group without a command has printed its help
        return _print_error(" ".join(describe_usage(error, PROGRAM).split()), USAGE)
    except Abort:
        raise KeyboardInterrupt from None
    except OSError as error:
        from gateway.runtime.system_errors import advise  # noqa: PLC0415

        if error.errno == errno.EPIPE or error.strerror is None:
            raise
        file = f"{error.filename}: " if error.filename else ""
        return _print_error(f"{file}{advise(error)}", FAULT)
    if code == INTERRUPTED:  # typer turns a KeyboardInterrupt into this code
        raise KeyboardInterrupt
    return int(code or 0)


def _print_error(text: str, code: int) -> int:
    from gateway.secrets import redact  # noqa: PLC0415

    sys.stderr.write(f"{PROGRAM}: {_CREDENTIALS.sub('://***@', redact(text))}\n")
    return code
