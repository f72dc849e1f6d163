"""`token receipt` and `token signing-key`: what a customer was sent, as a signed document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.options import CLI, STORE, Invocation, command, fail
from gateway.cli.output import note, show_record, show_table
from gateway.cli.tokens import ID_HELP, group
from gateway.config.settings import base_url
from gateway.config.units import format_size
from gateway.runtime.system_errors import advise
from gateway.secrets import TOKEN_PREFIX, token_id

if TYPE_CHECKING:  # slow to import, and --help does not need it
    from gateway.catalogue.catalogue import Catalogue
    from gateway.web.signing_keys import SigningKeys

MOST_BYTES: Final = 64 * 2**20
"""Of a file with a receipt or with keys. Receipts have a few MB at most."""


def _signing_keys(invocation: Invocation, catalogue: Catalogue) -> SigningKeys:
    from gateway.connections.sealing import SecretBox  # noqa: PLC0415
    from gateway.web.signing_keys import SigningKeys  # noqa: PLC0415

    return SigningKeys(catalogue.database, SecretBox.of(invocation.settings))


@command(
    group,
    "receipt",
    settings=(*STORE, "public_url", "listen"),
    example="download-gateway token receipt 0123456789abcdef0123456789abcdef --json > receipt.json",
)
def receipt(
    invocation: Invocation,
    which: Annotated[str | None, typer.Argument(metavar="[ID]", help=ID_HELP, show_default=False)] = None,
    *,
    verify: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Verify a receipt instead: a file that --json has written, or with the JWS alone.",
            show_default=False,
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --verify: the published keys, /.well-known/jwks.json. Default: those of the database.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what a token was sent: files, times, addresses, the order. With --json it is signed.

    Also for tokens that have expired. docs/receipts.md says what to send in a dispute.
    """
    if (which is None) is (verify is None):
        raise fail("give the ID of a token, or --verify with the FILE of a receipt")
    if keys is not None and verify is None:
        raise fail("--keys belongs to --verify: give both")
    if verify is not None:
        document = _verify(invocation, verify, keys)
        invocation.print_result(document, lambda: _show(document, note_signature=True))
        return
    answer = _make(invocation, which or "")
    invocation.print_result(answer, lambda: _show(answer["receipt"]))


def _make(invocation: Invocation, which: str) -> dict[str, Any]:
    identifier = token_id(which) if which.startswith(TOKEN_PREFIX) else which

    async def make(catalogue: Catalogue) -> dict[str, Any] | None:
        from gateway.tokens.index import is_token_id  # noqa: PLC0415
        from gateway.web.receipts import make_receipt, signed_receipt  # noqa: PLC0415

        if not is_token_id(identifier):
            return None
        record = await catalogue.store.tokens.get(identifier)
        made = await make_receipt(catalogue.database, identifier, record, base_url(invocation.settings))
        return None if made is None else await signed_receipt(made, _signing_keys(invocation, catalogue))

    answer = invocation.with_catalogue(make)
    if answer is None:
        raise fail("there is no such token, and never was (`usage` shows what was downloaded)")
    return answer


def _verify(invocation: Invocation, file: Path, keys: Path | None) -> dict[str, Any]:
    """The receipt of a file whose signature is right. Raises ConfigurationError."""
    from gateway.usage import jws  # noqa: PLC0415

    content = _read(file)
    try:
        text = json.loads(content)["jws"] if content.lstrip().startswith("{") else content
    except (ValueError, KeyError):
        raise fail(f"{file} is no receipt: it must have a JWS, or JSON with the field `jws`") from None
    try:
        if keys is not None:
            known = jws.read_keys(_json(keys))
        else:
            known = invocation.with_catalogue(
                lambda catalogue: _signing_keys(invocation, catalogue).published()
            )
        document: dict[str, Any] = json.loads(jws.verify(str(text), known))
    except jws.BadSignature as error:
        raise fail(f"{file} is not valid: {error}") from None
    if content.lstrip().startswith("{") and json.loads(content).get("receipt", document) != document:
        raise fail(f"{file} is not valid: its `receipt` is not what was signed")
    return document


def _json(file: Path) -> Any:
    try:
        return json.loads(_read(file))
    except ValueError:
        raise fail(f"{file} has no keys: it must be the JSON of /.well-known/jwks.json") from None


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise fail(f"{file} cannot be read: {advise(error)}") from None


def _show(document: dict[str, Any], *, note_signature: bool = False) -> None:
    order, product = document["order"] or {}, document["product"]
    fields = [
        ("token", document["token"]["tokenId"]),
        ("status", document["token"]["status"]),
        ("product", f"{product['name'] or product['productId']} {product['version']}"),
        ("customer", document["customer"]["email"]),
        ("name", document["customer"]["name"]),
        ("order", f"{order['source']} {order['number'] or order['orderId']}" if order else None),
        ("placed", order.get("placedAt")),
        ("bought from", order.get("purchaseIp")),
        ("test", "yes" if document["token"]["test"] else None),
        ("made", document["issuedAt"]),
    ]
    show_record(fields)
    typer.echo()
    rows = [
        (
            file["name"],
            format_size(file["size"]),
            "complete" if file["complete"] else f"{format_size(file['coveredBytes'])} of it",
            file["requests"],
            file["firstAt"],
            file["lastAt"],
            ", ".join(dict.fromkeys(each["address"] or "not kept" for each in file["attempts"])),
        )
        for file in document["files"]
    ]
    if rows:
        show_table(
            ("FILE", "SIZE", "RECEIVED", "REQUESTS", "FIRST", "LAST", "ADDRESSES"), rows, wrap_last=True
        )
    else:
        note("Nothing was downloaded with this token.")
    if note_signature:
        note("The signature is right: nothing was changed since this receipt was made.")


@command(group, "signing-key", example="download-gateway token signing-key --replace")
def signing_key(
    invocation: Invocation,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make a new key. Old receipts can still be verified.")
    ] = False,
) -> None:
    """Show the keys that receipts are signed with, the current one first, as they are published."""

    async def work(catalogue: Catalogue) -> dict[str, bytes]:
        keys = _signing_keys(invocation, catalogue)
        if replace:
            name = await keys.rotate()
            await catalogue.store.audit.record(CLI, "receipt.key", {"key": name})
        return await keys.published()

    from gateway.usage import jws  # noqa: PLC0415

    found = invocation.with_catalogue(work)
    rows = [(name, "current" if place == 0 else "replaced") for place, name in enumerate(found)]
    invocation.print_result(
        {"keys": [jws.jwk(public) for public in found.values()]},
        lambda: show_table(("KEY", "STATE"), rows),
    )
