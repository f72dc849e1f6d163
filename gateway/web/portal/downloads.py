"""Downloads: each is a new token that is made from the purchase when it is asked for, and is kept nowhere.

- *Download* leads to the file, by a form, so that it works without scripts and no program that only looks at
  pages makes a token.
- *Continue* shows a fresh link and a command line. A file's ETag is the same under every token, so browsers
  and download managers go on with what they have.
- *All files* are a list for a program, or the page of all links.
"""

from __future__ import annotations

import contextlib
import shlex
from typing import Final

from aiohttp import web

from gateway.errors import Declined
from gateway.http.file_names import content_disposition, download_name
from gateway.http.links import download_path
from gateway.manifest import Manifest, ManifestFile
from gateway.orders.minting import MintedUrl, Terms, mint_from_entitlement
from gateway.orders.purchases import Purchase, get_purchase
from gateway.secrets import token_id
from gateway.tokens.validation import is_email
from gateway.web.forms import Form, read_form
from gateway.web.portal.context import PortalContext
from gateway.web.portal.file_lists import METALINK_TYPE, aria2_input, list_name, metalink, sha256sums
from gateway.web.portal.purchases import PRIVATE, purchase_of, version_files
from gateway.web.portal.quotas import LINKS_OF_CUSTOMER
from gateway.web.portal.visitors import Visitor, signed_in
from gateway.web.problems import Problem

_EXPLAINED: Final = ("entitlement_not_active", "version_not_included", "product_unknown")
"""Why nothing is made: the page of the purchase explains it."""
_TEXT: Final = "text/plain; charset=utf-8"


async def download(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """Make a token and lead to the file; without a file, to the page of all links."""
    form = await read_form(request)
    purchase = await purchase_of(request, context, visitor)
    found = await version_files(context, purchase, form.text("version"))
    if found is None:
        return _explain(context, purchase)
    _, manifest = found
    file = _file_of(manifest, form) if "file" in form else None
    minted = await _mint(context, visitor, purchase, manifest)
    if minted is None:
        return _explain(context, purchase)
    path = download_path(minted.token, file.name if file else "")
    return web.Response(status=303, headers={"Location": path, **PRIVATE})


async def continue_download(
    request: web.Request, context: PortalContext, visitor: Visitor
) -> web.StreamResponse:
    """Show a fresh link of a file, and how a broken download goes on with it."""
    form = await read_form(request)
    purchase = await purchase_of(request, context, visitor)
    found = await version_files(context, purchase, form.text("version"))
    if found is None:
        return _explain(context, purchase)
    version, manifest = found
    file = _file_of(manifest, form)
    minted = await _mint(context, visitor, purchase, manifest)
    if minted is None:
        return _explain(context, purchase)
    url = context.work.base_url + download_path(minted.token, file.name)
    name = download_name(file.name)
    return context.pages.respond(
        request,
        "portal/continue.html",
        visitor=visitor,
        purchase=purchase,
        version=version,
        file=file,
        name=name,
        url=url,
        expires=minted.expires,
        curl=shlex.join(["curl", "-fL", "-C", "-", "-o", name, url]),
        wget=shlex.join(["wget", "-c", "-O", name, url]),
        windows=f'curl.exe -fL -C - -o "{_for_windows(name)}" "{url}"',
    )


def _for_windows(name: str) -> str:
    """A name in double quotes as cmd and PowerShell leave it alone; their own signs become `_`."""
    return "".join("_" if each in '<>:"|?*%$`!^&' else each for each in name)


async def write_list(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """Answer with a list of all files for a program, with fresh links."""
    form = await read_form(request)
    purchase = await purchase_of(request, context, visitor)
    found = await version_files(context, purchase, form.text("version"))
    if found is None:
        return _explain(context, purchase)
    _, manifest = found
    kind = form.text("list")
    if kind not in ("aria2", "metalink"):
        raise Problem("invalid_request", "There is no such list.")
    minted = await _mint(context, visitor, purchase, manifest)
    if minted is None:
        return _explain(context, purchase)

    def address(name: str) -> str:
        return context.work.base_url + download_path(minted.token, name)

    if kind == "aria2":
        return _list(aria2_input(manifest, address), _TEXT, list_name(manifest, ".aria2.txt"))
    return _list(metalink(manifest, address), METALINK_TYPE, list_name(manifest, ".meta4"))


async def write_sums(request: web.Request, context: PortalContext, visitor: Visitor) -> web.StreamResponse:
    """Answer with the digests of a version's files. Raises Problem (not_found)."""
    purchase = await purchase_of(request, context, visitor)
    found = await version_files(context, purchase, request.query.get("version", ""))
    if found is None or not purchase.is_active:
        raise Problem("not_found", "There is no such version.")
    return _list(sha256sums(found[1]), _TEXT, "SHA256SUMS")


def _list(text: str, media_type: str, name: str) -> web.Response:
    headers = {"Content-Type": media_type, "Content-Disposition": content_disposition(name), **PRIVATE}
    return web.Response(body=text.encode("utf-8", "replace"), headers=headers)


def _file_of(manifest: Manifest, form: Form) -> ManifestFile:
    """The file that a form names by its number. Raises Problem (not_found)."""
    number = form.text("file")
    if not (number.isascii() and number.isdigit() and len(number) < 7 and int(number) < len(manifest.files)):
        raise Problem("not_found", "The version has no such file.")
    return manifest.files[int(number)]


async def _mint(
    context: PortalContext, visitor: Visitor, purchase: Purchase, manifest: Manifest
) -> MintedUrl | None:
    """Make a token of a version; None where the purchase does not open it now."""
    await context.quotas.take((LINKS_OF_CUSTOMER, visitor.holder.customer_id))
    email = visitor.holder.email
    terms = Terms(
        manifest.version,
        context.work.default_ttl,
        {"email": email} if is_email(email) else {},
        None,
        context.work.base_url,
    )
    work = context.work
    try:
        minted = await mint_from_entitlement(work.database, work.store, purchase.id, terms)
    except Declined as declined:
        if declined.code in _EXPLAINED:
            return None
        raise
    async with work.database.reading() as sql:
        is_theirs = purchase.is_own or await get_purchase(sql, visitor.holder, purchase.id) is not None
    if not is_theirs:  # their seat was taken away meanwhile
        with contextlib.suppress(Declined):
            await work.store.tokens.revoke(token_id(minted.token))
        return None
    return minted


def _explain(context: PortalContext, purchase: Purchase) -> web.Response:
    return context.pages.redirect(f"/purchases/{purchase.id}")


DOWNLOAD: Final = signed_in(download)
CONTINUE: Final = signed_in(continue_download)
WRITE_LIST: Final = signed_in(write_list)
WRITE_SUMS: Final = signed_in(write_sums)
