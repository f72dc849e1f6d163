"""`token create | show | list | revoke | extend`: the commands do what the mint service and admin API do."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import CLI, STORE, YES, Invocation, command, confirm, fail
from gateway.cli.output import count_of, note, show_record, show_table, show_time
from gateway.cli.token_caps import (
    BindTo,
    MaxConnectionRate,
    MaxConnections,
    MaxRate,
    NewBindTo,
    NewConnectionRate,
    NewConnections,
    NewRate,
    read_caps,
    read_changes,
    show_caps,
)
from gateway.cli.token_values import (
    ExpiresIn,
    MaxDownloads,
    faults_name_flags,
    link_base,
    read_lifetime,
    read_moment,
    read_pairs,
)
from gateway.config.units import format_size
from gateway.http.links import download_path
from gateway.secrets import TOKEN_PREFIX, token_id
from gateway.web.documents import token_document

if TYPE_CHECKING:  # the store's client is slow to import, and --help does not need it
    from gateway.manifest import Manifest
    from gateway.tokens.records import MintedToken, TokenRecord
    from gateway.tokens.repositories import Repositories
    from gateway.tokens.repository import Keep

group = typer.Typer(help="Download tokens: make, show, revoke and extend them.", no_args_is_help=True)

ID_HELP = "The token's id (from `token list`), or the token itself."
TokenId = Annotated[str, typer.Argument(metavar="ID", help=ID_HELP)]


class Status(StrEnum):
    """The statuses that a listed token can have."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXHAUSTED = "exhausted"


def usage_data(token: TokenRecord, manifest: Manifest) -> list[dict[str, Any]]:
    """How many bytes of each file were charged to the token. Only tokens with a limit are charged."""
    return [
        {"name": file.name, "size": file.size, "bytesCharged": token.charged.get(index, 0)}
        for index, file in enumerate(manifest.files)
    ]


@command(
    group,
    "create",
    settings=(*STORE, "public_url", "listen", "mint_default_ttl", "mint_max_ttl"),
    example="download-gateway token create drums --expires-in 7d --max-downloads 3",
)
def create(
    invocation: Invocation,
    product: Annotated[
        str, typer.Argument(metavar="PRODUCT", help="The product's id (from `product list`).")
    ],
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Its version. Default: the active one.")
    ] = None,
    *,
    expires_in: ExpiresIn = None,
    max_downloads: MaxDownloads = None,
    max_connections: MaxConnections = None,
    max_rate: MaxRate = None,
    max_connection_rate: MaxConnectionRate = None,
    bind_to: BindTo = None,
    email: Annotated[
        str | None, typer.Option(help="The customer's e-mail address.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="The customer's name.", show_default=False)] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Text that is kept with the token, such as order=4711.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a token and print its link. The token is shown only now, because only its id is stored."""
    settings = invocation.settings
    lifetime = read_lifetime(expires_in, settings)
    pairs = read_pairs(metadata or [])
    caps = read_caps(max_connections, max_rate, max_connection_rate, bind_to)

    async def make(store: Repositories) -> tuple[MintedToken, str]:
        minted = await store.tokens.create(
            product,
            version,
            expires_in=lifetime,
            max_downloads=max_downloads,
            email=email,
            name=name,
            metadata=pairs,
            caps=caps,
        )
        record = minted.record
        await store.audit.record(
            CLI, "token.create", {"token": record.id, "product": record.product, "version": record.version}
        )
        return minted, await store.products.only_file(record.manifest)

    with faults_name_flags():
        minted, file = invocation.with_store(make)
    base = link_base(invocation)
    link = base + download_path(minted.token, file)
    urls = {"downloadUrl": f"{base}/download?token={minted.token}"} | ({"directUrl": link} if file else {})

    def show() -> None:
        record = minted.record
        limit = "" if record.max_downloads is None else f", {record.max_downloads} downloads of each file"
        typer.echo(link)
        validity = f"valid until {show_time(record.expires)}{limit}"
        note(f"{record.product} {record.version}, {validity}; id {record.id}")

    invocation.print_result({**urls, "downloadToken": minted.token, **token_document(minted.record)}, show)


@command(group, "show", example="download-gateway token show 0123456789abcdef0123456789abcdef")
def show(invocation: Invocation, which: TokenId) -> None:
    """Show a token: its product, its customer, its expiry and what was downloaded."""

    async def read(store: Repositories) -> tuple[TokenRecord, Manifest | None]:
        token = await store.tokens.get(_identifier(which))
        if token is None:
            raise fail("there is no such token; it may have expired (`token list` shows all)")
        return token, await store.products.get_manifest(token.manifest)

    token, manifest = invocation.with_store(read)
    data = {**token_document(token), "files": None if manifest is None else usage_data(token, manifest)}
    invocation.print_result(data, lambda: show_token(token, manifest))


@command(group, "list", example="download-gateway token list --product drums --status active")
def list_(
    invocation: Invocation,
    *,
    product: Annotated[
        str | None, typer.Option(help="Only tokens of this product.", show_default=False)
    ] = None,
    status: Annotated[
        Status | None, typer.Option(help="Only tokens with this status.", show_default=False)
    ] = None,
    email: Annotated[
        str | None, typer.Option(help="Only tokens of this customer.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|ID",
            help="Only tokens that this API key made; the id of a revoked key is known too.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="List at most this many.")] = 50,
) -> None:
    """List tokens, newest first. Expired tokens are no longer in the store."""
    from gateway.tokens.listing import MAX_LIMIT, TokenFilter, describe_damage  # noqa: PLC0415

    damaged: dict[str, None] = {}

    async def read(store: Repositories) -> tuple[list[TokenRecord], bool]:
        key_id = None if key is None else await _key_id(store, key)
        token_filter = TokenFilter(product, status.value if status else None, email, key_id)
        found: list[TokenRecord] = []
        cursor = None
        while True:
            page = await store.tokens.list_page(token_filter, min(limit - len(found), MAX_LIMIT), cursor)
            found += page.tokens
            damaged.update(dict.fromkeys(page.damaged))
            cursor = page.cursor
            if cursor is None or len(found) >= limit:
                return found, cursor is not None

    tokens, more = invocation.with_store(read)

    def show() -> None:
        columns = ("ID", "PRODUCT", "VERSION", "STATUS", "EXPIRES", "DOWNLOADS", "CUSTOMER")
        show_table(columns, [_row(token) for token in tokens])

    invocation.print_result([token_document(token) for token in tokens], show)
    for identifier in damaged:
        note(describe_damage(identifier))
    if more:
        note(f"There may be more: --limit {limit} was reached.")


@command(group, "revoke", example="download-gateway token revoke 0123456789abcdef0123456789abcdef")
def revoke(
    invocation: Invocation,
    which: Annotated[str | None, typer.Argument(metavar="[ID]", help=ID_HELP, show_default=False)] = None,
    *,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|ID",
            help="Revoke all tokens that this API key made, such as one that was stolen.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Revoke a token, or all tokens that an API key made. They stop working at once, for ever."""
    if (which is None) is (key is None):
        raise fail("give the ID of a token, or --key with the name or id of an API key")
    if key is not None:
        _revoke_all_of(invocation, key, yes)
        return

    async def end(store: Repositories) -> TokenRecord:
        token = await store.tokens.revoke(_identifier(which or ""))
        await store.audit.record(CLI, "token.revoke", {"token": token.id})
        return token

    token = invocation.with_store(end)
    invocation.print_result(
        token_document(token), lambda: note(f"Token {token.id} ({token.product} {token.version}) is revoked.")
    )


def _revoke_all_of(invocation: Invocation, key: str, yes: bool) -> None:
    async def find(store: Repositories) -> tuple[str, list[str]]:
        from gateway.tokens.listing import TokenFilter  # noqa: PLC0415

        key_id = await _key_id(store, key)
        return key_id, [token.id async for token in store.tokens.list_live(TokenFilter(key=key_id))]

    async def end(store: Repositories) -> list[TokenRecord]:
        revoked = [await store.tokens.revoke(identifier) for identifier in found]
        await store.audit.record(CLI, "token.revoke", {"key": key_id, "tokens": len(revoked)})
        return revoked

    with invocation.open_store() as run:
        key_id, found = run(find)
        number = count_of(len(found), "token")
        if found:
            confirm(invocation, f"Revoke {number} that the API key {key_id} made", yes)
        revoked = run(end)
    invocation.print_result([token_document(token) for token in revoked], lambda: note(f"Revoked {number}."))


async def _key_id(store: Repositories, which: str) -> str:
    """The id of an API key, given by name or id. An id need not exist any more: the key may be revoked."""
    if re.fullmatch("[0-9a-f]{16}", which):
        return which
    return (await store.keys.find(which)).id


@command(
    group,
    "extend",
    settings=(*STORE, "mint_max_ttl"),
    example="download-gateway token extend 0123456789abcdef0123456789abcdef --expires-in 7d",
)
def extend(
    invocation: Invocation,
    which: TokenId,
    *,
    expires_in: ExpiresIn = None,
    expires_at: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="When the token expires, such as 2030-01-31T12:00:00Z.", show_default=False
        ),
    ] = None,
    max_downloads: MaxDownloads = None,
    unlimited: Annotated[bool, typer.Option("--unlimited", help="Remove the limit of downloads.")] = False,
    max_connections: NewConnections = None,
    max_rate: NewRate = None,
    max_connection_rate: NewConnectionRate = None,
    bind_to: NewBindTo = None,
) -> None:
    """Change when a token expires, how often it may be used, or what else limits it from now on."""
    from gateway.tokens.repository import KEEP  # noqa: PLC0415

    if expires_in is not None and expires_at is not None:
        raise fail("--expires-in and --expires-at exclude each other: give one")
    if max_downloads is not None and unlimited:
        raise fail("--max-downloads and --unlimited exclude each other: give one")
    caps = read_changes(max_connections, max_rate, max_connection_rate, bind_to)
    if expires_in is None and expires_at is None and max_downloads is None and not unlimited and not caps:
        raise fail(
            "nothing to change: give --expires-in, --expires-at, --max-downloads, --unlimited or a limit"
        )
    settings = invocation.settings
    lifetime = read_lifetime(expires_in, settings) if expires_in is not None else None
    moment = read_moment(expires_at) if expires_at is not None else None
    limit: int | Keep | None = None if unlimited else KEEP if max_downloads is None else max_downloads

    async def update(store: Repositories) -> TokenRecord:
        expiry = moment
        if lifetime is not None:
            seconds, micros = await store.client.call("TIME")  # tokens expire by the store's clock
            expiry = int(seconds) * 1000 + int(micros) // 1000 + lifetime * 1000
        token = await store.tokens.update(
            _identifier(which),
            expires_at=expiry,
            max_downloads=limit,
            # read_lifetime has already compared an expiry given in seconds with the limit
            max_lifetime=settings.mint_max_ttl if lifetime is None else None,
            caps=caps,
        )
        changed: dict[str, Any] = {
            "expires": None if expiry is None else token.expires,
            "max_downloads": None if limit is KEEP else str(token.max_downloads),
            **{f"max_{name}": str(value) for name, value in caps.items()},
        }
        await store.audit.record(CLI, "token.update", {"token": token.id, **changed})
        return token

    with faults_name_flags():
        token = invocation.with_store(update)
    invocation.print_result(token_document(token), lambda: show_token(token, None))


def show_token(token: TokenRecord, manifest: Manifest | None) -> None:
    """Print a token for people. With its manifest, print also what was charged for each file."""
    revoked = None if token.revoked is None else show_time(token.revoked)
    metadata = ", ".join(f"{key}={value}" for key, value in token.metadata.items()) or None
    limit = None if token.max_downloads is None else f"{token.max_downloads} of each file"
    fields = [
        ("id", token.id),
        ("product", f"{token.product} {token.version}"),
        ("status", token.status),
        ("created", show_time(token.created)),
        ("expires", show_time(token.expires)),
        ("revoked", revoked),
        ("downloads", limit),
        *show_caps(token.caps),
        ("made by key", token.key),
        ("email", token.email),
        ("name", token.name),
        ("metadata", metadata),
    ]
    show_record(fields)
    if manifest is not None and token.max_downloads is not None:
        typer.echo()
        rows = [
            (file.name, format_size(file.size), format_size(token.charged.get(index, 0)))
            for index, file in enumerate(manifest.files)
        ]
        show_table(("FILE", "SIZE", "DOWNLOADED"), rows)


def _row(token: TokenRecord) -> tuple[object, ...]:
    limit = "" if token.max_downloads is None else f"max {token.max_downloads}"
    customer = token.email or token.name or ""
    return (token.id, token.product, token.version, token.status, show_time(token.expires), limit, customer)


def _identifier(which: str) -> str:
    return token_id(which) if which.startswith(TOKEN_PREFIX) else which
