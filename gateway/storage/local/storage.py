"""Files on a local disk: opened below a root only, kept open between requests, checked at every request.

The rules:

- A file is served if its size is the manifest's, its content was seen with its present modification time,
  change time and inode (`verified.py`), and its path still leads to it. Otherwise its content is compared
  with its SHA-256 once (`comparisons.py`), and `open` raises BeingCompared meanwhile.
- The root is opened anew for each file, so a root that was remounted or renamed needs no restart.
- A descriptor is closed when it is neither cached nor in use, so never during a transfer.
- `ServingRules` decides about each file that was opened, by where it really lies. A file that stays open is
  looked at again every RULES_SECONDS, because a folder above it may have been renamed.

Any thread may call everything here: one lock guards the cache and the counts, held for a few instructions and
never during a system call. `lookup` is for the event loop; `open`, `check`, `stat` and the like block and are
for threads. Measured in µs with the file in memory, on ext4 (tmpfs differs by less than 0.1 unless given):
lookup and release 2.4 (1.1 of it the stat), acquire and release 0.6, unchanged 1.0, read_cached of 1 KiB 1.0
(tmpfs 3.0) and of 64 KiB 5.8, is_in_memory 1.3 (tmpfs 5.0 for 1 MiB), open and close 12, read_into_memory of
1 MiB 50.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from time import monotonic, time
from typing import Final, NamedTuple

from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.interface import FRESH_SECONDS, BeingCompared
from gateway.storage.local.blob import LocalBlob, identity_of, reason
from gateway.storage.local.comparisons import Comparisons, estimate_seconds, is_refused, reason_to_compare
from gateway.storage.local.confinement import Opener, best_opener, open_by_parts, parts_of
from gateway.storage.local.descriptors import DescriptorCache
from gateway.storage.local.verified import Fingerprint, VerifiedFiles
from gateway.storage.rules import HIDDEN, MOVED, ServingRules, real_path, refuse_key

RULES_SECONDS: Final = 1.0
"""How long an open file is served before the rules look at it again, which takes some 15 µs."""
_ROOT_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Stat(NamedTuple):
    """What a manifest keeps of a file: its size in bytes, its modification time in nanoseconds since 1970."""

    size: int
    modified: int


class LocalStorage:
    """The files below one folder, or one file of it. Implements `Storage`.

    Keys are paths relative to `root`, with "/". only: the key of the one file that it serves; None: all
    files. takes_new: whether files may be published from it. rules: what is never served.
    """

    redirects = False

    def __init__(
        self,
        name: str,
        root: Path,
        cache: DescriptorCache,
        *,
        opener: Opener | None = None,
        only: str | None = None,
        takes_new: bool = True,
        rules: ServingRules | None = None,
        comparisons: Comparisons | None = None,
    ) -> None:
        self.name = name
        self.root = root
        self.only = only
        self.takes_new = takes_new
        self._rules = rules or ServingRules()
        self._root = os.fsencode(root.absolute())
        self._cache = cache
        self._opener = opener or best_opener()
        self._comparisons = comparisons or Comparisons(VerifiedFiles())
        self._verified = self._comparisons.verified

    def lookup(self, file: ManifestFile) -> LocalBlob | None:
        """Return the cached blob, acquired, if its path still leads to the same unchanged file; else None.

        It calls stat once for the path, at most once in FRESH_SECONDS. So a root on a network file system
        that hangs makes the event loop hang too.
        """
        key = (self.name, file.key, file.size, file.sha256)
        blob = self._cache.take(key)
        if blob is None:
            return None
        now = monotonic()
        if now - blob.checked_at < FRESH_SECONDS:
            return blob
        try:
            if identity_of(os.stat(blob.path)) == blob.identity and (
                now - blob.allowed_at < RULES_SECONDS or self._is_still_allowed(blob, file.key, now)
            ):
                blob.checked_at = now
                return blob
        except OSError:
            pass  # `open` will report the error
        self._cache.drop(key, blob)
        blob.release()
        return None

    def open(self, file: ManifestFile) -> LocalBlob:
        """Open the file and cache it; see `Storage`."""
        try:
            fd, facts = self._open_checked(file)
        except BeingCompared as error:
            error.done = self._comparisons.begin(self, file)
            raise
        try:
            path = self._root + b"/" + file.key.encode()
            blob = LocalBlob(fd, facts, path, self._describe(file.key), self._cache.lock)
            blob.allowed_at = monotonic()
        except BaseException:
            os.close(fd)
            raise
        return self._cache.keep((self.name, file.key, file.size, file.sha256), blob)

    def handoff(self, file: ManifestFile, media_type: str, disposition: str) -> None:
        """Return None: files have no URL of their own."""

    def close(self) -> None:
        """Do nothing: the descriptors belong to the cache, which is cleared by its owner."""

    def check(self, file: ManifestFile) -> None:
        """Raise the error that a download of this file would get now, if any. This reads no content.

        Where the content has to be compared first, that is BeingCompared, although nothing was begun.
        """
        os.close(self._open_checked(file)[0])

    def stat(self, key: str) -> Stat:
        """Return size and time of a file. Raises StorageError when it could not be served."""
        fd, facts = self.open_descriptor(key)
        os.close(fd)
        return Stat(facts.st_size, facts.st_mtime_ns)

    def knows_content(self, file: ManifestFile, facts: os.stat_result) -> bool:
        """Whether a file with this stat was seen with the content of the manifest's entry."""
        return facts.st_size == file.size and self._verified.is_verified(file, Fingerprint.of(facts))

    def remember_content(self, file: ManifestFile, facts: os.stat_result) -> None:
        """Record that the file with this stat was read, and has the content of the manifest's entry."""
        self._verified.verify(file, Fingerprint.of(facts))

    def check_root(self) -> None:
        """Raise StorageError when the root is not a folder that this user may enter."""
        try:
            os.close(os.open(self._root, _ROOT_FLAGS))
            reachable = os.access(self._root, os.X_OK, effective_ids=True)
        except OSError as error:
            raise StorageError(f"storage {self.name}: the root {str(self.root)!r} {reason(error)}") from error
        if not reachable:
            raise StorageError(
                f"storage {self.name}: the user this runs as cannot enter the root {str(self.root)!r}"
            )

    def open_descriptor(self, key: str) -> tuple[int, os.stat_result]:
        """Open a regular file below the root, for the caller to close. Raises StorageError."""
        try:
            path = b"/".join(parts_of(key))
        except ValueError as error:
            raise StorageError(f"{self._describe(key)} cannot be opened: {error}") from None
        if self.only is not None:
            if key != self.only:
                raise StorageError(f"{self._describe(key)} is not the one file of this storage")
        elif fault := refuse_key(key):
            raise StorageError(f"{self._describe(key)} {fault}")
        try:
            fd, root = self._open_below(path)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise StorageError(f"{self._describe(key)} {reason(error)}") from error
            self._cache.shrink()
            try:
                fd, root = self._open_below(path)
            except OSError as again:
                raise StorageError(f"{self._describe(key)} {reason(again)}") from again
        try:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                raise StorageError(f"{self._describe(key)} is not a regular file")
            if fault := self._refuse_opened(fd, facts, root, key):
                raise StorageError(f"{self._describe(key)} {fault}")
            os.set_blocking(fd, True)
        except OSError as error:
            os.close(fd)
            raise StorageError(f"{self._describe(key)} {reason(error)}") from error
        except BaseException:
            os.close(fd)
            raise
        return fd, facts

    def open_folder(self, folder: str) -> int:
        """Open a folder below the root ("" is the root itself), for the caller to close. Raises StorageError.

        It is found as files are: below the root whatever links lead to, not hidden, and not private.
        """
        try:
            path = b"/".join(parts_of(folder)) if folder else b"."
        except ValueError as error:
            raise StorageError(f"{self._describe(folder)} cannot be opened: {error}") from None
        if self.only is not None:
            raise StorageError(f"storage {self.name}: has one file, and no folders")
        if fault := refuse_key(folder):
            raise StorageError(f"{self._describe(folder)} {fault}")
        try:
            fd, root = self._open_below(path)
        except OSError as error:
            raise StorageError(f"{self._describe(folder)} {reason(error)}") from error
        try:
            facts = os.fstat(fd)
            if not stat.S_ISDIR(facts.st_mode):
                raise StorageError(f"{self._describe(folder)} is not a folder")
            here = real_path(fd)
            if here is None or root is None or here == root:
                fault = "" if here == root else "cannot be looked at, because /proc is not mounted"
                fault = fault or self._rules.refuse_opened(here or b"", here or b"", facts)
            else:
                fault = self._refuse_opened(fd, facts, root, folder)
            if fault:
                raise StorageError(f"{self._describe(folder)} {fault}")
        except OSError as error:
            os.close(fd)
            raise StorageError(f"{self._describe(folder)} {reason(error)}") from error
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _open_below(self, path: bytes) -> tuple[int, bytes | None]:
        """Open a file below the root. Returns its descriptor, and where the root really lies."""
        root = os.open(self._root, _ROOT_FLAGS)
        try:
            return self._opener(root, path), real_path(root)
        finally:
            os.close(root)

    def _refuse_opened(self, fd: int, facts: os.stat_result, root: bytes | None, key: str) -> str:
        """Apply the rules to an open file. Returns "" or what is wrong with it. Raises OSError.

        root: where the root really lies, which only /proc says.
        """
        path = real_path(fd)
        if root is None or path is None:  # without /proc: only a way of opening that follows no links is safe
            return "" if self._opener is open_by_parts else "cannot be served, because /proc is not mounted"
        start = root.rstrip(b"/") + b"/"
        if not path.startswith(start):
            return MOVED
        if self.only is not None:
            here = os.lstat(start + key.encode())
            if not (stat.S_ISREG(here.st_mode) and os.path.samestat(here, facts)):
                return "is a link now, where a single file was published"
        elif refuse_key(below := os.fsdecode(path[len(start) :])):
            return HIDDEN if below == key else f"leads to {below!r}, which {HIDDEN}"
        return self._rules.refuse_opened(root, path, facts)

    def _is_still_allowed(self, blob: LocalBlob, key: str, now: float) -> bool:
        """Apply the rules again to a file that stayed open. Raises OSError."""
        top = os.open(self._root, _ROOT_FLAGS)
        try:
            root = real_path(top)
        finally:
            os.close(top)
        if self._refuse_opened(blob.fd, os.fstat(blob.fd), root, key):
            return False
        blob.allowed_at = now
        return True

    def _open_checked(self, file: ManifestFile) -> tuple[int, os.stat_result]:
        fd, facts = self.open_descriptor(file.key)
        try:
            self._expect_published(file, facts)
        except BaseException:
            os.close(fd)
            raise
        return fd, facts

    def _expect_published(self, file: ManifestFile, facts: os.stat_result) -> None:
        """Raise StorageError unless the content of a file is known to be the published one."""
        name = self._describe(file.key)
        if facts.st_size != file.size:
            raise StorageError(
                f"{name} changed since it was published: {facts.st_size} bytes instead of {file.size}; "
                "publish it again as a new version"
            )
        fingerprint = Fingerprint.of(facts)
        record = self._verified.read(file)
        if fingerprint in record.verified or self._verified.adopt(file, fingerprint):
            return
        if is_refused(record, fingerprint):
            raise StorageError(
                f"{name} changed since it was published: {record.fault}; "
                "put the published file back, or publish this one as a new version"
            )
        pause = record.again - time()
        if pause > 0:
            error = StorageError(f"{name} could not be compared with what was published: {record.fault}")
            error.retry_after = int(pause) + 1
            raise error
        raise BeingCompared(
            f"{name} may have changed since it was published, and is compared with its SHA-256: "
            f"{reason_to_compare(file, record, fingerprint)}",
            None,
            estimate_seconds(file.size),
        )

    def _describe(self, key: str) -> str:
        return f"storage {self.name}: {key!r}"  # quoted: a name may hold a line break
