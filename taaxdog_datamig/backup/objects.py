"""Backups in an object store: S3 and its like, Google Cloud Storage, Azure; by `obstore`.

Credentials and endpoints come from the environment, under the names that obstore documents (AWS_*,
GOOGLE_*, AZURE_*), never from the URL, which is shown. Errors name what the server answered by its code
alone: its whole answer may hold a signed address.

An upload that fails is aborted. One whose process is killed leaves pieces that the store keeps, bills and
does not list; obstore cannot find them either, so a lifecycle rule of the bucket must let go of them:
docs/how-to/backup-stores.md.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import attrs

from taaxdog_datamig.errors import BackupError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMES: Final = ("s3", "gs", "abfss", "https")
#: Bytes of a piece of an upload. Servers take 10,000 pieces, so that an object may have 80 GiB.
_PIECE: Final = 8 << 20
#: Pieces of one object that travel at the same time.
_TRAVELLING: Final = 2
#: Bytes of an object that are handed on at a time when it is read.
_READ: Final = 1 << 20
#: How often, and for how long in all, a request is tried again.
_RETRIES: Final[dict[str, Any]] = {"max_retries": 6, "retry_timeout": timedelta(minutes=1)}

_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CREDENTIALS: Final = (
    "Look at the credentials in the environment (AWS_*, GOOGLE_* or AZURE_*) and what they may"
)


class _Abandoned(Exception):
    """The writer gave up."""


@attrs.frozen
class ObjectStore:
    """Objects of a bucket whose names begin with the path of the URL."""

    address: str
    _bucket: Any = attrs.field(repr=False)

    @classmethod
    def connect(cls, url: str) -> ObjectStore:
        """The store behind a URL. No request is made yet.

        Args:
            url: `s3://bucket/path`, `gs://bucket/path`, `abfss://container@account.dfs.core.windows.net/path`,
                or the https:// address of one of them.

        Raises:
            SettingsError: the URL is of no store, or holds credentials; or the extra `stores` is missing.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise SettingsError(
                "backup_dir is a URL of no object store", "Write s3://, gs:// or abfss://, or a folder"
            )
        # Azure has the container where others have a user.
        user = parts.scheme != "abfss" and parts.username
        if user or parts.password or parts.query or parts.fragment:
            raise SettingsError(
                "backup_dir holds more than an address", f"Take the credentials out of it. {_CREDENTIALS}"
            )
        try:
            from obstore.exceptions import BaseError  # noqa: PLC0415  an extra
            from obstore.store import from_url  # noqa: PLC0415
        except ImportError:
            raise SettingsError(
                f"backup_dir is in an object store, {url}, and obstore is not installed",
                "pip install 'taaxdog-datamig[stores]'",
            ) from None
        try:
            # obstore does not look for this one in the environment when it is given any option of its client.
            plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"true", "1"}
            options: dict[str, Any] = {"connect_timeout": "5s", "allow_http": plain}
            bucket = from_url(url, retry_config=_RETRIES, client_options=options)  # type: ignore[call-overload]
        except (BaseError, ValueError) as error:
            raise SettingsError(f"{url} cannot be used: {_said(error)}", _CREDENTIALS) from None
        return cls(url.rstrip("/"), bucket)

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator[Callable[[bytes], object]]:
        """See `Store.writer`: small objects in one request, others piece by piece while they are written."""
        upload = _Upload(self, name)
        try:
            yield upload.write
            upload.finish()
        except BaseException:
            upload.abandon()
            raise

    def read(self, name: str) -> Iterator[bytes]:
        """See `Store.read`."""
        import obstore  # noqa: PLC0415

        with self._errors("read", name):
            for piece in obstore.get(self._bucket, name).stream(min_chunk_size=_READ):
                yield bytes(piece)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """See `Store.sizes`; uploads that were never finished are in no list."""
        import obstore  # noqa: PLC0415

        folder = prefix.rpartition("/")[0]
        with self._errors("list", prefix):
            listed = obstore.list(self._bucket, folder or None, chunk_size=1_000)
            found = {meta["path"]: meta["size"] for batch in listed for meta in batch}
        return {name: found[name] for name in sorted(found) if name.startswith(prefix)}

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        import obstore  # noqa: PLC0415

        with self._errors("delete", name), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._bucket, name)

    def put(self, name: str, content: bytes | Iterator[bytes]) -> None:
        """Store a whole object; pieces that come from an iterator are taken back if it raises an error."""
        import obstore  # noqa: PLC0415

        with self._errors("write", name):
            obstore.put(self._bucket, name, content, chunk_size=_PIECE, max_concurrency=_TRAVELLING)

    @contextlib.contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            where = f"{self.address}/{name}".rstrip("/")
            raise BackupError(f"cannot {doing} {where}: {_said(error)}", _todo(error)) from None


@attrs.define
class _Upload:
    """An object on its way: obstore pulls on a thread of its own what is written here."""

    _store: ObjectStore
    _name: str
    _held: bytearray = attrs.field(factory=bytearray, init=False)
    _pieces: queue.Queue[bytes | _Abandoned | None] = attrs.field(factory=lambda: queue.Queue(1), init=False)
    _thread: ThreadPoolExecutor | None = attrs.field(default=None, init=False)
    _error: BaseException | None = attrs.field(default=None, init=False)

    def write(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= _PIECE:
            self._hand_on(bytes(self._held))
            self._held.clear()

    def finish(self) -> None:
        if self._thread is None:
            self._store.put(self._name, bytes(self._held))
            return
        self._hand_on(bytes(self._held))
        self._end(None)
        self._check()

    def abandon(self) -> None:
        self._end(_Abandoned())

    def _hand_on(self, piece: bytes) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "upload")
            self._thread.submit(self._send)
        self._pieces.put(piece)
        self._check()

    def _end(self, last: _Abandoned | None) -> None:
        if self._thread is not None:
            self._pieces.put(last)
            self._thread.shutdown()
            self._thread = None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _send(self) -> None:
        coming = self._coming()
        try:
            self._store.put(self._name, coming)
        except _Abandoned:
            return
        except BaseException as error:  # noqa: BLE001  raised where the object is written
            self._error = error
        # After an error the writer may still wait to hand a piece on.
        with contextlib.suppress(_Abandoned):
            for _ in coming:
                pass

    def _coming(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            if isinstance(piece, _Abandoned):
                raise piece
            yield piece


def _said(error: BaseException) -> str:
    """What went wrong, without a word that may be secret."""
    text = str(error)
    if code := _CODE.search(text):
        return code[1]
    if status := _STATUS.search(text):
        return f"the server answers {status[1]}"
    match type(error).__name__:
        case "FileNotFoundError":
            return "it is not there"
        case "PermissionDeniedError" | "UnauthenticatedError":
            return "permission denied"
        case "GenericError" if "error sending request" in text or "HTTP error" in text:
            return "no answer from the server"
        case kind:
            return kind


def _todo(error: BaseException) -> str:
    said = _said(error)
    if said == "NoSuchBucket":
        return "Create the bucket, or set backup_dir (BACKUP_DIR) to one that is there"
    if said == "no answer from the server":
        return "Look at the network and the endpoint (for S3-compatible servers AWS_ENDPOINT_URL)"
    return "" if said in {"it is not there", "NoSuchKey"} else _CREDENTIALS
