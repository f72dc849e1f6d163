"""Publishing a version from a storage: a picker of its files, and a job that reads them.

The job goes on when the page is left, and its page shows how far it is. It uses what the admin API uses: the
same checks of files, the same digests, the same catalogue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from aiohttp import web

from gateway.catalogue.rules import ProductRecord
from gateway.errors import Declined, StorageError, StoreUnavailable
from gateway.http.file_names import media_type
from gateway.manifest import Manifest, ManifestFile
from gateway.products.browsing import ChosenFile, choose_files, list_folder, list_places
from gateway.products.hashing import Stopped
from gateway.products.validation import MAX_BLOB_KEY, Fault
from gateway.web.api.context import AdminContext
from gateway.web.api.models import NewFile, RegisterVersion
from gateway.web.api.version_files import declaration_faults, describe_files
from gateway.web.auditing import note_change
from gateway.web.dashboard.answers import faults_of, without_nothing
from gateway.web.dashboard.context import DashboardContext
from gateway.web.dashboard.frame import EVERYBODY, change, show, visitor_of
from gateway.web.dashboard.products import find
from gateway.web.forms import Form, read_form
from gateway.web.jobs import Job, Progress
from gateway.web.problems import Problem, invalid
from gateway.web.validation import validate

_ = str  # marks what is in the catalogue

PUBLISH: Final = "publish"
LONGEST_KEY: Final = MAX_BLOB_KEY


async def show_picker(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show a folder of a storage to choose from. Raises Problem, DatabaseError."""
    product = await find(request, context)
    storage, folder = request.query.get("storage", ""), request.query.get("folder", "")
    return await _show_picker(request, context, product, storage, folder[:LONGEST_KEY], {}, {})


async def _show_picker(
    request: web.Request,
    context: DashboardContext,
    product: ProductRecord,
    storage: str,
    folder: str,
    given: dict[str, str],
    faults: dict[str, str],
    keys: Sequence[str] = (),
) -> web.StreamResponse:
    places = await asyncio.to_thread(list_places, context.work.storages)
    if not storage and len(places) == 1:
        storage = places[0].name
    shown, fault = None, ""
    if storage:
        try:
            shown = await asyncio.to_thread(list_folder, context.work.storages, storage, folder)
        except StorageError as error:
            fault = str(error)
    return await context.show(
        request,
        "dashboard/publish.html",
        422 if faults else 404 if fault else 200,
        product=product,
        places=places,
        shown=shown,
        storage=storage,
        folder=folder,
        fault=fault,
        given=given,
        faults=faults,
        keys=frozenset(keys),
    )


async def publish(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Begin to publish what was chosen. Raises Problem, DatabaseError, StoreUnavailable."""
    product, form = await find(request, context), await read_form(request)
    storage, folder, keys = form.text("storage"), form.text("folder"), form.texts("key")
    try:
        chosen = await asyncio.to_thread(choose_files, context.work.storages, storage, folder, keys)
        new = validate(RegisterVersion, _document(form, storage, chosen))
        if faults := declaration_faults(product.id, new):
            raise invalid(faults)
        if new.version in product.versions:
            raise Declined(
                "version_conflict", f"The version {new.version} exists, and a version never changes."
            )
    except (Problem, Declined, StorageError) as refusal:
        found = (
            {"": str(refusal)}
            if isinstance(refusal, StorageError)
            else faults_of(refusal, ("version", "notes"))
        )
        given = {name: form.text(name) for name in ("version", "notes", "activate")}
        return await _show_picker(request, context, product, storage, folder, given, found, keys)
    by = visitor_of(request).user.name
    what = {"product": product.id, "version": new.version, "files": str(len(new.files)), "from": storage}
    job = await context.jobs.begin(PUBLISH, what, by, partial(register, context.work, product.id, new, by))
    note_change(request, product=product.id, version=new.version, job=job.id)
    return context.pages.redirect(f"/jobs/{job.id}")


def _document(form: Form, storage: str, chosen: Sequence[ChosenFile]) -> dict[str, object]:
    return without_nothing(
        {
            "version": form.text("version"),
            "notes": form.text("notes").replace("\r\n", "\n"),
            "activate": True if "activate" in form else None,
            "files": [
                {
                    "name": each.name,
                    "size": each.size,
                    "type": media_type(each.name),
                    "storage": storage,
                    "key": each.key,
                }
                for each in chosen
            ],
        }
    )


async def register(
    context: AdminContext, product: str, new: RegisterVersion, by: str, progress: Progress
) -> None:
    """Read the files, register the version, and note who did it. Raises Problem, Declined, GatewayError."""
    progress.total = sum(file.size for file in new.files)
    known = await context.catalogue.find(product)
    earlier = await context.store.products.known_manifests(known.product, new.version)
    async with context.reading:
        progress.is_running = True
        files, faults = await _read(context, new.files, earlier, progress)
    if faults:
        raise invalid(faults)
    await context.catalogue.register(
        Manifest(product, new.version, files), activate=new.activate, create=False, notes=new.notes
    )
    what = {"product": product, "version": new.version, "digests": "computed"}
    await context.store.audit.record(by, "version.register", what)


async def _read(
    context: AdminContext, files: Sequence[NewFile], known: Sequence[Manifest], progress: Progress
) -> tuple[tuple[ManifestFile, ...], list[Fault]]:
    describe = partial(
        describe_files,
        files,
        context.storages,
        trust=False,
        known=known,
        is_stopped=context.stop.is_set,
        report=progress.add,
    )
    try:
        return await asyncio.to_thread(describe)
    except Stopped:
        raise StoreUnavailable("the service stopped while it read the files; publish them again") from None


async def show_job(request: web.Request, context: DashboardContext) -> web.StreamResponse:
    """Show how far a job is: as a page, or to htmx as the part that changes. Raises Problem."""
    job = await _find_job(request, context)
    template = "dashboard/job_state.html" if "HX-Request" in request.headers else "dashboard/job.html"
    return await context.show(request, template, job=job, lines=job.error.splitlines())


async def _find_job(request: web.Request, context: DashboardContext) -> Job:
    job = await context.jobs.get(request.match_info["job"])
    if job is None:
        raise Problem("not_found", "There is no such work. What was done more than a week ago is forgotten.")
    return job


PUBLISHING_SCREENS: Final = (
    show("/products/{product}/publish", show_picker, EVERYBODY),
    change("/products/{product}/publish", publish, EVERYBODY, audit="version.publish"),
    show("/jobs/{job}", show_job, EVERYBODY),
)
