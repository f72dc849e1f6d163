"""What error replies mean: one table, texts of several versions of Redis, and answers about a role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.store.replies import TABLE, Consequence, is_primary, read_error
from tests.support.rows import each_row

SCRIPT = "ERR Error running script (call to f_0a1b): @user_script:3: @user_script: 3: "


@each_row(
    ("text", "code", "consequence"),
    [
        ("READONLY You can't write against a read only replica.", "READONLY", "reconnect"),
        ("READONLY You can't write against a read only replica. script: 12ab, on @user_script:1.",
         "READONLY", "reconnect"),
        (SCRIPT + "-READONLY You can't write against a read only slave.", "READONLY", "reconnect"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "MASTERDOWN",
         "reconnect"),
        ("UNBLOCKED force unblock from blocking operation, instance state changed", "UNBLOCKED", "reconnect"),
        ("LOADING Redis is loading the dataset in memory", "LOADING", "reconnect"),
        ("LOADING Valkey is loading the dataset in memory", "LOADING", "reconnect"),
        ("NOAUTH Authentication required.", "NOAUTH", "reconnect"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS", "reconnect"),
        ("DENIED Redis is running in protected mode because …", "DENIED", "reconnect"),
        ("ERR max number of clients reached", "MAXCLIENTS", "reconnect"),
        ("ERR max number of clients + cluster connections reached", "MAXCLIENTS", "reconnect"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM", "report"),
        (SCRIPT + "-OOM command not allowed when used memory > 'maxmemory'.", "OOM", "report"),
        ("MISCONF Redis is configured to save RDB snapshots, but cannot persist", "MISCONF", "report"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "MISCONF", "report"),
        ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS", "report"),
        ("NOPERM this user has no permissions to run the 'get' command", "NOPERM", "report"),
        ("NOPERM User gateway has no permissions to run the 'get' command", "NOPERM", "report"),
        ("NOPERM ACL failure in script: User gateway has no permissions to run the 'hset' command", "NOPERM",
         "report"),
        ("ERR The user executing the script can't run this command or subcommand script: 1",
         "NOPERM", "report"),
        (SCRIPT + "The user executing the script can't access at least one of the keys mentioned",
         "NOPERM", "report"),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", "BUSY", "report"),
        ("UNKILLABLE Sorry the script already executed write commands", "UNKILLABLE", "report"),
        ("MOVED 3999 127.0.0.1:6381", "MOVED", "report"),
        ("ASK 3999 127.0.0.1:6381", "ASK", "report"),
        ("CLUSTERDOWN The cluster is down", "CLUSTERDOWN", "report"),
        ("CLUSTERDOWN Hash slot not served", "CLUSTERDOWN", "report"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "TRYAGAIN", "report"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "CROSSSLOT", "report"),
        ("EXECABORT Transaction discarded because of previous errors.", "EXECABORT", "command"),
        ("NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT", "command"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE", "command"),
        ("ERR value is not an integer or out of range", "ERR", "command"),
        ("ERR unknown command `ROLE`, with args beginning with: `secret`", "ERR", "command"),
        ("SOMETHING new", "SOMETHING", "command"),
        ("", "ERR", "command"),
        ("lower case", "ERR", "command"),
    ],
)  # fmt: skip
def test_the_consequence_of_a_reply(text: str, code: str, consequence: str) -> None:
    reply = read_error(text)
    assert (reply.code, reply.meaning.consequence.value) == (code, consequence)
    assert "secret" not in reply.text
    assert len(reply.text) <= 200


def test_a_code_that_a_library_has_removed() -> None:
    reply = read_error("You can't write against a read only replica.", "READONLY")
    assert reply == read_error("READONLY You can't write against a read only replica.")


@each_row(
    ("reply", "expected"),
    [
        ([b"master", 3129659, [[b"127.0.0.1", b"9001", b"3129242"]]], True),
        (["master", 0, []], True),
        ([b"slave", b"127.0.0.1", 9000, b"connected", 3167038], False),
        ([b"sentinel", [b"resque-master"]], None),
        ([b"active-replica", [], []], None),
        ([b"server", b"redis", b"proto", 2, b"role", b"master", b"modules", []], True),
        (
            [b"server", b"valkey", b"proto", 2, b"mode", b"cluster", b"role", b"replica", b"modules", []],
            False,
        ),
        ({b"server": b"redis", b"role": b"replica"}, False),
        ({"role": "master"}, True),
        (b"# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\n", False),
        ("# Replication\r\nrole:master\r\nconnected_slaves:0\r\n", True),
        (b"OK", None),
        ([], None),
        ([b"server", b"role"], None),
        (7, None),
        (None, None),
    ],
)
def test_the_role_that_a_reply_tells(reply: Any, expected: bool | None) -> None:
    assert is_primary(reply) is expected


def test_the_document_explains_every_reason() -> None:
    text = (Path(__file__).parents[2] / "docs/redis.md").read_text()
    codes = [code for code, row in TABLE.items() if row.consequence is not Consequence.COMMAND]
    assert [code for code in codes if f"`{code}`" not in text] == []
    assert [code for code in ("LOST", "REFUSED", "NAME", "AWAY", "TLS", "TIMEOUT", "PROTOCOL")
            if f"`{code}`" not in text] == []  # fmt: skip
