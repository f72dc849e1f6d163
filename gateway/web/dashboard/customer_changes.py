"""What a seller does for a customer: grant, decide about a right, move, make a link, erase.

Each uses the function of the admin API or of the commands, so that no rule is here a second time.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from aiohttp import web

from gateway.database.types import now
from gateway.errors import Declined
from gateway.mail.again import tell_again
from gateway.orders.email_addresses import AddressError
from gateway.orders.entitlement_rules import Override
from gateway.orders.entitlements import get_entitlement, override_entitlement
from gateway.orders.minting import Terms, mint_from_entitlement
from gateway.secrets import token_id
from gateway.web.api.context import AdminContext
from gateway.web.api.customer_work import erase_person, move_to
from gateway.web.api.customers import CLEAN_SECONDS
from gateway.web.api.entitlements import grant_product
from gateway.web.api.order_models import CreateEntitlement, MoveCustomer, UpdateEntitlement
from gateway.web.auditing import note_change
from gateway.web.dashboard.answers import faults_of, moment, number, text_of, without_nothing
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.customers import find, show_one
from gateway.web.dashboard.frame import EVERYBODY, change, show, visitor_of
from gateway.web.dashboard.minting import qr_code
from gateway.web.download_urls import download_url_document
from gateway.web.forms import Form, read_form
from gateway.web.jobs import Progress
from gateway.web.problems import Problem
from gateway.web.times import format_time
from gateway.web.validation import validate

_ = str  # marks what is in the catalogue

ERASE: Final = "erase"
GRANT_FIELDS: Final = ("productId", "scope", "version", "until", "quantity", "reason")


async def grant(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Grant the customer a product. Raises Problem, DatabaseError."""
    form = await read_form(request)
    async with context.work.database.reading() as sql:
        customer = await find(sql, request)
    try:
        if customer.email is None:
            raise Problem("customer_unknown", "The customer was erased.")
        body = validate(CreateEntitlement, {"email": customer.email, **_grant_document(form)})
        identifier = await grant_product(context.work.database, context.work.store, body)
    except (Problem, Declined) as refusal:
        given = {name: form.text(name) for name in GRANT_FIELDS}
        return await show_one(
            request, context, 422, given=given, faults=faults_of(refusal, GRANT_FIELDS), form="grant"
        )
    note_change(request, entitlement=identifier, product=body.productId)
    return await context.go(request, f"/customers/{customer.id}", _("The product is granted."))


def _grant_document(form: Form) -> dict[str, object]:
    until = moment(form.text("until"), is_end=True)
    return without_nothing(
        {
            "productId": form.text("productId"),
            "scope": form.text("scope"),
            "version": form.text("version") if form.text("scope") == "version" else None,
            "until": format_time(until) if until is not None and form.text("scope") == "until" else None,
            "quantity": number(form, "quantity"),
            "reason": form.text("reason"),
        }
    )


async def decide(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Write the seller's decision about a right, or take it back. Raises Problem, DatabaseError."""
    form, identifier = await read_form(request), request.match_info["entitlement"]
    word = form.text("override")
    async with context.work.database.reading() as sql:
        row = await get_entitlement(sql, identifier.encode("utf-8", "replace").decode())
    if row is None:
        raise Problem("entitlement_unknown", "There is no such right.")
    here = f"/customers/{row.customer_id}"
    try:
        body = validate(
            UpdateEntitlement,
            {"override": None if word == "none" else word, "reason": form.text("reason") or None},
        )
    except Problem as refusal:
        return await context.go(request, here, text_of(refusal), "bad")
    override = None if body.override is None else Override(body.override)
    async with context.work.database.writing() as sql:
        await override_entitlement(sql, row.id, override, body.reason, now())
    context.work.enforcer.wake()
    note_change(request, entitlement=row.id, override=body.override or "none")
    texts = {
        "grant": _("The right is granted, whatever the shop tells."),
        "revoke": _("The right is revoked. Its links end within seconds."),
        "none": _("Your decision is taken back. What the shop tells holds again."),
    }
    return await context.go(request, here, texts[body.override or "none"])


async def make_link(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Make a link from a right, and show it this once. Raises Problem, DatabaseError, StoreUnavailable."""
    identifier = request.match_info["entitlement"].encode("utf-8", "replace").decode()
    terms = Terms(expires_in=context.work.default_ttl, base=context.work.base_url)
    try:
        made = await mint_from_entitlement(context.work.database, context.work.store, identifier, terms)
    except Declined as refusal:
        async with context.work.database.reading() as sql:
            row = await get_entitlement(sql, identifier)
        if row is None:
            raise Problem("entitlement_unknown", "There is no such right.") from None
        return await context.go(request, f"/customers/{row.customer_id}", text_of(refusal), "bad")
    record = await context.work.store.tokens.get(token_id(made.token))
    product = await context.work.catalogue.read(made.product)
    if record is None or product is None:
        raise Problem("product_unknown", "The product was removed meanwhile.")
    note_change(request, entitlement=identifier, token=record.id, version=made.version)
    file = await context.work.store.products.only_file(made.manifest)
    urls = download_url_document(made.base, made.product, made.version, made.token, made.expires, file)
    url = urls.get("directUrl", urls["downloadUrl"])
    return await context.show(
        request,
        "dashboard/token_made.html",
        product=product,
        record=record,
        url=url,
        plain_url=urls["downloadUrl"],
        qr=qr_code(url),
        is_test=False,
    )


async def move(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Move a customer to another address, and everything of theirs. Raises Problem, DatabaseError."""
    form, identifier = await read_form(request), request.match_info["customer"]
    given = {"email": form.text("email")}
    try:
        body = validate(MoveCustomer, given)
        moved = await move_to(context.work.database, identifier, body.email)
    except (Problem, Declined, AddressError) as refusal:
        if isinstance(refusal, Problem) and refusal.code == "customer_unknown":
            raise
        found = (
            {"email": str(refusal)} if isinstance(refusal, AddressError) else faults_of(refusal, ("email",))
        )
        return await show_one(request, context, 422, given=given, faults=found, form="move")
    note_change(request, customer=moved.id)
    here = f"/customers/{moved.id}"
    if "tell" in form and await tell_again(context.work.database, moved.id):
        text = _("Everything belongs to the new address now, and a mail says there where it is.")
        return await context.go(request, here, text)
    return await context.go(request, here, _("Everything belongs to the new address now."))


async def tell(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Send the mails about a customer's purchases once more. Raises Problem, DatabaseError."""
    async with context.work.database.reading() as sql:
        customer = await find(sql, request)
    here = f"/customers/{customer.id}"
    if customer.email is None or not await tell_again(context.work.database, customer.id):
        text = _("There is no order of which anything can be downloaded.")
        return await context.go(request, here, text, "warn")
    note_change(request, customer=customer.id)
    return await context.go(request, here, _("The mail about the purchases leaves in a moment."))


async def ask_erase(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Ask whether to erase a customer, and say what happens. Raises Problem, DatabaseError."""
    async with context.work.database.reading() as sql:
        customer = await find(sql, request)
    return await context.show(request, "dashboard/customer_erase.html", customer=customer, fault="")


async def erase(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Begin to erase a customer. Raises Problem, DatabaseError, StoreUnavailable."""
    form = await read_form(request)
    async with context.work.database.reading() as sql:
        customer = await find(sql, request)
    if customer.erased is not None:
        raise Problem("customer_unknown", "The customer was erased already.")
    if form.text("sure") != "yes":
        fault = _("Tick the box if you are sure.")
        return await context.show(
            request,
            "dashboard/customer_erase.html",
            422,
            customer=customer,
            fault=context.say(request, fault),
        )
    by = visitor_of(request).user.name
    work = partial(_erase, context.work, customer.id)
    job = await context.jobs.begin(ERASE, {"customer": customer.id}, by, work)
    note_change(request, customer=customer.id)
    return context.pages.redirect(f"/jobs/{job.id}")


async def _erase(context: AdminContext, identifier: str, progress: Progress) -> None:
    progress.is_running = True
    await erase_person(context.database, context.store, context.data, identifier)
    context.enforcer.wake()
    await context.cleaner.wait(CLEAN_SECONDS)


CUSTOMER_CHANGES: Final = (
    change("/customers/{customer}/grant", grant, EVERYBODY, audit="entitlement.create"),
    change("/customers/{customer}/email", move, EVERYBODY, audit="customer.move"),
    change("/customers/{customer}/tell", tell, EVERYBODY, audit="customer.tell"),
    show("/customers/{customer}/erase", ask_erase, EVERYBODY),
    change("/customers/{customer}/erase", erase, EVERYBODY, audit="customer.erase"),
    change("/rights/{entitlement}", decide, EVERYBODY, audit="entitlement.override"),
    change("/rights/{entitlement}/link", make_link, EVERYBODY, audit="entitlement.mint"),
)
