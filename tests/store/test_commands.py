"""Commands as they are packed. How each one ends is tested with the pipeline, in test_pipeline.py."""

from __future__ import annotations

import hiredis
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store.commands import Command, ScriptCall, pack
from gateway.store.scripts import Script
from tests.support.examples import examples


def unpacked(data: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(data)
    command = reader.gets()
    assert reader.gets() is False
    assert isinstance(command, list)
    return command


def test_a_script_call_is_sent_by_hash_first_and_with_its_text_if_need_be() -> None:
    script = Script("return 1")
    call = ScriptCall(script, "key", 7, b"value")
    assert unpacked(call.packed()) == [b"EVALSHA", script.sha.encode(), b"1", b"key", b"7", b"value"]
    assert unpacked(call.with_script_text()) == [b"EVAL", b"return 1", b"1", b"key", b"7", b"value"]


def test_another_command_has_no_script() -> None:
    assert Command().with_script_text() is None


@settings(max_examples=examples(50), deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=50), st.text(max_size=20), st.integers()), min_size=1, max_size=5)
)
def test_arguments_arrive_as_they_were(values: list[bytes | str | int]) -> None:
    """Whatever is packed is one command with these arguments: nothing in them breaks out of it."""
    reader = hiredis.Reader()
    reader.feed(pack(("ECHO", *values)))
    expected = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    assert reader.gets() == [b"ECHO", *expected]
    assert reader.gets() is False
