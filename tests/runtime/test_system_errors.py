"""Reasons of errors of the system, and that no message has a library's own text instead."""

from __future__ import annotations

import ast
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.runtime.system_errors import advise, describe
from tests.support.rows import each_row

ROOT = Path(__file__).parents[2]
LIBRARY_ERRORS = {
    "OSError", "TimeoutError", "ConnectionError", "ConnectionRefusedError", "FileNotFoundError",
    "FileExistsError", "PermissionError", "IsADirectoryError", "NotADirectoryError", "gaierror", "SSLError",
    "SSLCertVerificationError", "HTTPException", "ClientError", "RedisError", "ResponseError",
    "ParseError", "TOMLDecodeError", "UnicodeDecodeError", "JSONDecodeError", "SQLAlchemyError",
    "DBAPIError", "BotoCoreError", "ProfileNotFound", "PartialCredentialsError", "BaseError",
}  # fmt: skip
PARSERS = {"tomllib", "json", "ElementTree"}
"""What they raise is a ValueError, too."""


NETWORK = "check the address, the network and the firewall"


@each_row(
    ("error", "words", "step"),
    [
        (OSError(errno.ENOENT, "x"), "it or its folder does not exist", "correct the path"),
        (
            OSError(errno.EACCES, "x"),
            "this user may not do that",
            "give this user the right, or choose another path",
        ),
        (OSError(errno.EISDIR, "x"), "it is a folder, not a file", "name a file"),
        (OSError(errno.ENOSPC, "x"), "the disk is full", "make room"),
        (OSError(errno.EMFILE, "x"), "too many files are open", "raise `ulimit -n`"),
        (
            OSError(errno.ECONNREFUSED, "x"),
            "the connection is refused",
            "start the server, or correct the address",
        ),
        (TimeoutError(), "no answer came in time", NETWORK),
        (TimeoutError("timed out"), "no answer came in time", NETWORK),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "this host name is not known here",
            "correct it, or check the name server",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "x"),
            "no name server answers",
            "check the network and its name server",
        ),
        (ssl.SSLError(1, "[SSL: X] y"), "TLS fails (sslerror)", "check that both sides use TLS"),
        (OSError(errno.ENOTTY, os.strerror(errno.ENOTTY)), "the system reports ENOTTY", ""),
        (OSError(errno.EEXIST, "a text of ours"), "a text of ours (EEXIST)", ""),
        (OSError("Multiple exceptions: [Errno 111] x"), "no address of it answers", NETWORK),
        (OSError("others may write to it"), "others may write to it", ""),
        (ValueError("secret"), "ValueError", ""),
    ],
)
def test_reasons_are_in_our_words(error: BaseException, words: str, step: str) -> None:
    assert describe(error) == words
    assert advise(error) == (f"{words}: {step}" if step else words)


def test_the_cause_counts_where_a_library_has_wrapped_it() -> None:
    wrapped = KeyError("wrapped")
    wrapped.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "x")
    assert describe(wrapped) == "the connection is refused"


def _names(kinds: ast.expr | None) -> set[str]:
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(kinds or ast.Constant(None))
        if isinstance(node, ast.Name | ast.Attribute)
    }


def _library_handlers(tree: ast.AST) -> Iterator[ast.ExceptHandler]:
    """The handlers whose exception may be a library's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            parses = any(
                isinstance(each, ast.Name) and each.id in PARSERS
                for line in node.body
                for each in ast.walk(line)
            )
            wanted = LIBRARY_ERRORS | ({"ValueError"} if parses else set())
            yield from (handler for handler in node.handlers if _names(handler.type) & wanted)


def _texts(handler: ast.ExceptHandler) -> Iterator[ast.AST]:
    """Where a handler makes a text of its exception: in an f-string, by str(), or for the log."""
    for node in (each for line in handler.body for each in ast.walk(line)):
        values: list[ast.expr] = []
        if isinstance(node, ast.FormattedValue):
            values = [node.value]
        elif isinstance(node, ast.Call):
            function = node.func
            logs = isinstance(function, ast.Attribute) and "log" in ast.unparse(function.value)
            if logs or (isinstance(function, ast.Name) and function.id in ("str", "repr")):
                values = list(node.args)
        if any(isinstance(value, ast.Name) and value.id == handler.name for value in values):
            yield node


def _own_texts(source: str) -> list[int]:
    """The lines with a library's own text in a message."""
    tree = ast.parse(source)
    found = [text for handler in _library_handlers(tree) for text in _texts(handler)]
    found += [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "verify_message"
    ]
    found += [
        value
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue | ast.Call)
        for value in ast.walk(node)
        if isinstance(value, ast.Attribute)
        and value.attr == "strerror"
        and ast.unparse(value) != "os.strerror"
    ]
    return sorted({node.lineno for node in found if hasattr(node, "lineno")})


ALLOWED = {
    "runtime/system_errors.py": "says it in our words",
    "storage/s3/opening.py": "why a certificate is not valid, which is OpenSSL's to say",
}


@pytest.mark.slow
def test_no_message_has_a_librarys_own_text() -> None:
    found = {
        str(path.relative_to(ROOT / "gateway")): lines
        for path in sorted((ROOT / "gateway").rglob("*.py"))
        if (lines := _own_texts(path.read_text("utf-8")))
    }
    assert not set(ALLOWED) - set(found), "this exception is not needed any more"
    faults = {name: lines for name, lines in found.items() if name not in ALLOWED}
    assert not faults, f"describe or advise of gateway.runtime.system_errors says it: {faults}"


@pytest.mark.parametrize(
    "body",
    [
        "fail(f'cannot: {error}')",
        "fail(f'cannot: {error!s}')",
        "fail(str(error))",
        "_log.warning('cannot: %s', error)",
        "fail(f'cannot: {error.strerror}')",
        "fail('x' + (error.strerror or ''))",
    ],
)
def test_such_texts_are_found(body: str) -> None:
    for kind in ("OSError", "(GatewayError, OSError)", "ssl.SSLError", "tomllib.TOMLDecodeError"):
        assert _own_texts(f"try:\n    f()\nexcept {kind} as error:\n    {body}\n") == [4]
    assert not _own_texts("try:\n    f()\nexcept OSError as error:\n    fail(advise(error))\n")
    assert _own_texts("try:\n    tomllib.loads(x)\nexcept ValueError as error:\n    fail(f'{error}')\n") == [
        4
    ]
