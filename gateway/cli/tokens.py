"""`token create | show | list | revoke | extend`: the commands do what the mint service and admin API do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from gateway.cli.options import STORE, Invocation, command, fail
from gateway.cli.output import note, show_record, show_table, show_time
from gateway.config.settings import Settings, base_url
from gateway.config.units import format_duration, format_size, parse_duration
from gateway.errors import ConfigurationError
from gateway.secrets import TOKEN_PREFIX, token_id
from gateway.web.documents import token_document
from gateway.web.times import parse_time

if TYPE_CHECKING:  # the store's client is slow to import, and --help does not need it
    from gateway.manifest import Manifest
    from gateway.tokens.records import TokenRecord
    from gateway.tokens.repositories import Repositories
    from gateway.tokens.repository import Keep

group = typer.Typer(help="Download tokens: make, show, revoke and extend them.", no_args_is_help=True)

ID_HELP = "The token's id (from `token list`), or the token itself."
TokenId = Annotated[str, typer.Argument(metavar="ID", help=ID_HELP)]
ExpiresIn = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="How long the token is valid from now: seconds, or 90s, 15m, 24h, 7d.",
        show_default=False,
    ),
]
MaxDownloads = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="How often each file may be downloaded in total.", show_default=False
    ),
]


FLAGS: Final = {
    "expiresIn": "--expires-in",
    "expiresAt": "--expires-at",
    "maxDownloads": "--max-downloads",
    "customer.email": "--email",
    "customer.name": "--name",
    "metadata": "--metadata",
}
"""The flag that sets each field of the API."""


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
    lifetime = _lifetime(expires_in, settings)
    pairs = _pairs(metadata or [])
    with _faults_name_flags():
        minted = invocation.with_store(
            lambda store: store.tokens.create(
                product,
                version,
                expires_in=lifetime,
                max_downloads=max_downloads,
                email=email,
                name=name,
                metadata=pairs,
            )
        )
    url = f"{_base(invocation)}/download?token={quote(minted.token)}"

    def show() -> None:
        record = minted.record
        limit = "" if record.max_downloads is None else f", {record.max_downloads} downloads of each file"
        typer.echo(url)
        validity = f"valid until {show_time(record.expires)}{limit}"
        note(f"{record.product} {record.version}, {validity}; id {record.id}")

    invocation.print_result(
        {"downloadUrl": url, "downloadToken": minted.token, **token_document(minted.record)}, show
    )


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
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="List at most this many.")] = 50,
) -> None:
    """List tokens, newest first. Expired tokens are no longer in the store."""
    from gateway.tokens.listing import MAX_LIMIT, TokenFilter, describe_damage  # noqa: PLC0415

    token_filter = TokenFilter(product, status.value if status else None, email)

    damaged: dict[str, None] = {}

    async def read(store: Repositories) -> tuple[list[TokenRecord], bool]:
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
    tokens.sort(key=lambda token: token.created, reverse=True)

    def show() -> None:
        columns = ("ID", "PRODUCT", "VERSION", "STATUS", "EXPIRES", "DOWNLOADS", "CUSTOMER")
        show_table(columns, [_row(token) for token in tokens])

    invocation.print_result([token_document(token) for token in tokens], show)
    for identifier in damaged:
        note(describe_damage(identifier))
    if more:
        note(f"There may be more: --limit {limit} was reached.")


@command(group, "revoke", example="download-gateway token revoke 0123456789abcdef0123456789abcdef")
def revoke(invocation: Invocation, which: TokenId) -> None:
    """Revoke a token. It stops working at once, and this cannot be undone."""
    token = invocation.with_store(lambda store: store.tokens.revoke(_identifier(which)))
    invocation.print_result(
        token_document(token), lambda: note(f"Token {token.id} ({token.product} {token.version}) is revoked.")
    )


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
) -> None:
    """Change when a token expires, or how often it may be used."""
    from gateway.tokens.repository import KEEP  # noqa: PLC0415

    if expires_in is not None and expires_at is not None:
        raise fail("--expires-in and --expires-at exclude each other: give one")
    if max_downloads is not None and unlimited:
        raise fail("--max-downloads and --unlimited exclude each other: give one")
    if expires_in is None and expires_at is None and max_downloads is None and not unlimited:
        raise fail("nothing to change: give --expires-in, --expires-at, --max-downloads or --unlimited")
    settings = invocation.settings
    lifetime = _lifetime(expires_in, settings) if expires_in is not None else None
    moment = _moment(expires_at) if expires_at is not None else None
    limit: int | Keep | None = None if unlimited else KEEP if max_downloads is None else max_downloads

    async def update(store: Repositories) -> TokenRecord:
        expiry = moment
        if lifetime is not None:
            seconds, micros = await store.client.call("TIME")  # tokens expire by the store's clock
            expiry = int(seconds) * 1000 + int(micros) // 1000 + lifetime * 1000
        return await store.tokens.update(
            _identifier(which),
            expires_at=expiry,
            max_downloads=limit,
            # _lifetime has already compared an expiry given in seconds with the limit
            max_lifetime=settings.mint_max_ttl if lifetime is None else None,
        )

    with _faults_name_flags():
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


@contextmanager
def _faults_name_flags() -> Iterator[None]:
    """Turn what is wrong with a field of the API into faults that name the flag."""
    from gateway.errors import Declined  # noqa: PLC0415

    try:
        yield
    except Declined as declined:
        if not declined.faults:
            raise
        faults = [f"{FLAGS.get(field, field)}: {message}" for field, message in declined.faults]
        raise ConfigurationError(faults) from None


def _base(invocation: Invocation) -> str:
    """The beginning of a link: from the settings, or from the gateway that runs on this data folder."""
    from gateway.store.folder import announced_url  # noqa: PLC0415

    settings = invocation.settings
    is_given = settings.public_url or settings.redis_url or "listen" in invocation.flags
    return (None if is_given else announced_url(settings.data)) or base_url(settings)


def _identifier(which: str) -> str:
    return token_id(which) if which.startswith(TOKEN_PREFIX) else which


def _lifetime(text: str | None, settings: Settings) -> int:
    if text is None:
        return settings.mint_default_ttl
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise fail(f"--expires-in: {error}") from None
    if seconds < 1:
        raise fail("--expires-in: must be at least 1 second")
    if seconds > settings.mint_max_ttl:
        longest = format_duration(settings.mint_max_ttl)
        raise fail(f"--expires-in: {text} is more than mint.max_ttl allows ({longest})")
    return int(seconds)


def _moment(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise fail(f"--expires-at: {error}, not {text[:40]!r}") from None


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise fail(f"--metadata: {text[:40]!r} is not KEY=VALUE")
        if key in pairs:
            raise fail(f"--metadata: {key[:40]!r} is given twice")
        pairs[key] = value
    return pairs
