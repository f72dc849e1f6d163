"""Passkeys (WebAuthn level 3): signing in with what a device or a security key keeps.

A passkey signs a challenge of ours together with the page's origin, so it is of no use on another site. The
rules of who may use which challenge are the caller's: a challenge is 32 random bytes, asked for by one
browser, kept in its session, and taken out of there before an answer is looked at. So no answer counts twice.

This module costs half a second to import, so whoever needs it imports it when it is needed.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_authentication_credential_json
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from gateway.database.engine import Database
from gateway.database.errors import Duplicate
from gateway.database.tables import PASSKEY, USER
from gateway.database.types import now
from gateway.users.relying_party import RelyingParty
from gateway.users.repository import User, UserFault, UserRefused

CHALLENGE_BYTES: Final = 32
MOST_PASSKEYS: Final = 20
"""Of one user."""
LONGEST_ANSWER: Final = 16 * 1024
"""Characters of what a browser sends: some 2 KiB are usual."""
LONGEST_LABEL: Final = 60
_PRODUCT: Final = "Download gateway"


@dataclass(frozen=True)
class Passkey:
    """A passkey, as its user sees it. Times are ms."""

    id: str
    user_id: str
    name: str
    created: int
    used: int | None


class PasskeyRefused(Exception):
    """A browser's answer that proves nothing. The text is for the log, and has nothing of the answer."""


def new_challenge() -> str:
    """A challenge, in base64url."""
    return bytes_to_base64url(secrets.token_bytes(CHALLENGE_BYTES))


def registration_options(site: RelyingParty, user: User, known: Sequence[Passkey], challenge: str) -> str:
    """The JSON with which a browser makes a passkey. known: the user's, so that a device makes no second."""
    return options_to_json(
        generate_registration_options(
            rp_id=site.id,
            rp_name=_PRODUCT,
            user_id=user.id.encode(),
            user_name=user.name,
            challenge=base64url_to_bytes(challenge),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(id=base64url_to_bytes(each.id)) for each in known
            ],
        )
    )


def authentication_options(site: RelyingParty, challenge: str) -> str:
    """The JSON with which a browser signs in. It names no passkeys, so it tells nothing of users."""
    return options_to_json(
        generate_authentication_options(
            rp_id=site.id,
            challenge=base64url_to_bytes(challenge),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
    )


class PasskeyRepository:
    """The passkeys of a database. Every method raises DatabaseError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_of(self, user_id: str) -> list[Passkey]:
        """A user's passkeys, in the order in which they were made."""
        query = select(*_SHOWN).where(PASSKEY.c.user_id == user_id).order_by(PASSKEY.c.created, PASSKEY.c.id)
        async with self._database.reading() as sql:
            return [Passkey(**row._mapping) for row in await sql.execute(query)]

    async def add(self, site: RelyingParty, user: User, name: str, answer: str, challenge: str) -> Passkey:
        """Keep a passkey that a browser has made. Raises PasskeyRefused."""
        if len(answer) > LONGEST_ANSWER:
            raise PasskeyRefused("the answer is too long")
        try:
            made = verify_registration_response(
                credential=answer,
                expected_challenge=base64url_to_bytes(challenge),
                expected_rp_id=site.id,
                expected_origin=site.origin,
                require_user_verification=True,
            )
        except Exception as error:  # of several parsers, on bytes of a stranger
            raise PasskeyRefused(type(error).__name__) from None
        shown = " ".join(name.split())[:LONGEST_LABEL] or "Passkey"
        passkey = Passkey(bytes_to_base64url(made.credential_id), user.id, shown, now(), None)
        if len(await self.list_of(user.id)) >= MOST_PASSKEYS:
            raise PasskeyRefused("the user has too many passkeys")
        try:
            async with self._database.writing() as sql:
                await sql.execute(
                    insert(PASSKEY).values(
                        id=passkey.id,
                        user_id=user.id,
                        name=shown,
                        public_key=made.credential_public_key,
                        sign_count=made.sign_count,
                        created=passkey.created,
                    )
                )
        except Duplicate:
            raise PasskeyRefused("the passkey is known already, or its user is gone") from None
        return passkey

    async def verify(self, site: RelyingParty, answer: str, challenge: str) -> str:
        """The id of the user whose passkey has signed the challenge. Raises PasskeyRefused.

        The passkey's counter is kept. One that runs backwards shows a copy of the passkey, and is refused.
        """
        identifier, handle = _read_answer(answer)
        query = select(PASSKEY).where(PASSKEY.c.id == identifier)
        async with self._database.reading() as sql:
            row = (await sql.execute(query)).first()
        if row is None:
            raise PasskeyRefused("the passkey is unknown")
        if handle is not None and handle != row.user_id.encode():
            raise PasskeyRefused("the passkey is another user's")
        try:
            verified = verify_authentication_response(
                credential=answer,
                expected_challenge=base64url_to_bytes(challenge),
                expected_rp_id=site.id,
                expected_origin=site.origin,
                credential_public_key=row.public_key,
                credential_current_sign_count=row.sign_count,
                require_user_verification=True,
            )
        except Exception as error:  # of several parsers, on bytes of a stranger
            raise PasskeyRefused(type(error).__name__) from None
        async with self._database.writing() as sql:
            done = await sql.execute(
                update(PASSKEY)
                .where(PASSKEY.c.id == identifier, PASSKEY.c.sign_count == row.sign_count)
                .values(sign_count=verified.new_sign_count, used=now())
            )
        if not done.rowcount:
            raise PasskeyRefused("the passkey was used at the same moment")
        return str(row.user_id)

    async def remove(self, user_id: str, identifier: str) -> bool:
        """Remove a passkey of this user. Returns whether there was one.

        Raises UserRefused: last_way_in, where the user has neither a password nor another passkey.
        """
        async with self._database.writing() as sql:
            done = await sql.execute(
                delete(PASSKEY).where(PASSKEY.c.id == identifier, PASSKEY.c.user_id == user_id)
            )
            password = await sql.scalar(select(USER.c.password).where(USER.c.id == user_id))
            left = await sql.scalar(select(PASSKEY.c.id).where(PASSKEY.c.user_id == user_id).limit(1))
            if done.rowcount and password is None and left is None:
                raise UserRefused(UserFault.LAST_WAY_IN)
        return bool(done.rowcount)


_SHOWN: Final = tuple(PASSKEY.c[name] for name in ("id", "user_id", "name", "created", "used"))


def _read_answer(answer: str) -> tuple[str, bytes | None]:
    """The id of the passkey of an answer, and the user's handle, if it has one."""
    if len(answer) > LONGEST_ANSWER:
        raise PasskeyRefused("the answer is too long")
    try:
        document: Any = json.loads(answer)
        credential = parse_authentication_credential_json(document)
    except Exception as error:  # of several parsers, on bytes of a stranger
        raise PasskeyRefused(type(error).__name__) from None
    return bytes_to_base64url(credential.raw_id), credential.response.user_handle
