"""Files from a public mirror: over https alone, of bounded size, and whole or not at all."""

import http.client
import io
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Literal, cast

from pnbx_snn.errors import DataError

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes so far and, where the server says so, all its bytes."""
OpenUrl = Callable[[str], io.BufferedIOBase]

Downloadable = Literal["mnist", "fsdd"]
MIRRORS: dict[Downloadable, str] = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fsdd": "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/heads/",
}
"""The data sets that can be fetched, and the address of each, which ends in ``/``."""

TIMEOUT_S = 30.0
_CHUNK = 1 << 16


class Mirror:
    """Reads whole files below an address into memory, where they can be checked before anything is written.

    ``pooch`` would write what arrives to the disk first, of any size and after any redirect; bounded by a downloader
    of our own it took as many lines. See :func:`pnbx_snn.data.catalog.download` for the parameters.
    """

    def __init__(self, base_url: str, *, open_url: OpenUrl | None = None, progress: Progress | None = None) -> None:
        self.base_url = base_url
        self._open_url = open_url or _open_https
        self._progress = progress

    def read(self, file: str, *, max_bytes: int) -> bytes:
        """Return the content of a file, or raise a :class:`DataError` if it cannot be had, is cut short or larger."""
        url = self.base_url + file
        data = bytearray()
        try:
            with self._open_url(url) as response:
                total = getattr(response, "length", None)  # an HTTPResponse has it, None where the server does not say
                while chunk := response.read(_CHUNK):
                    data += chunk
                    if len(data) > max_bytes:
                        raise DataError(f"{url}: must have at most {max_bytes} bytes, sends more")
                    if self._progress is not None:
                        self._progress(file, len(data), total)
        except urllib.error.HTTPError as error:
            error.close()
            raise DataError(f"{url}: cannot be downloaded (the server says {error.code} {error.reason})") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise DataError(f"{url}: cannot be downloaded ({reason}); is there a network?") from error
        if total is not None and len(data) != total:
            raise DataError(f"{url}: is cut short: the server promised {total} bytes and sent {len(data)}")
        return bytes(data)


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only; the standard library would also go to http and ftp."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open_https(url: str) -> io.BufferedIOBase:
    opener = urllib.request.build_opener(_HttpsRedirects())
    return cast(http.client.HTTPResponse, opener.open(url, timeout=TIMEOUT_S))
