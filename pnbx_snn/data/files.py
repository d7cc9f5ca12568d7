"""Files of data sets: found where the user put them, and refused in the same words whatever is wrong with them."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pnbx_snn.errors import DataError
from pnbx_snn.regular_files import open_regular

MAX_FILE_BYTES = 4 << 30
"""More than any data set that is read whole."""


def find_file(folder: Path, data_set: str, name: str, *, endings: tuple[str, ...] = ("",)) -> Path:
    """Return the file of a data set, with one of the endings: from the folder of its name, or from here.

    Raises
    ------
    DataError
        If there is no such file; the message says how to get it.
    """
    for path in (base / (name + ending) for base in (folder / data_set, folder) for ending in endings):
        if path.exists():
            return path
    base = folder if folder.name == data_set else folder / data_set
    optional = "".join(f"[{ending}]" for ending in endings if ending)
    raise DataError(
        f"{base / name}{optional}: no such file; to get it: pnbx-snn download {data_set} --data {base.parent}, or name "
        f"the folder that holds it"
    )


@contextmanager
def reading(path: Path, kind: str) -> Iterator[int]:
    """Yield the size of a file that is read inside, and turn what goes wrong there into a :class:`DataError`.

    The kind (``"gzip"``, ``"npz"``) is what the file must be, for the message.

    Raises
    ------
    DataError
        If it is no regular file, cannot be read, or is cut short or altered.
    """
    try:
        with open_regular(path, DataError, max_bytes=MAX_FILE_BYTES) as (_, size):
            pass
        yield size
    # What gzip and zipfile raise: a wrong checksum in a gzip file is an OSError, an encrypted zip file a RuntimeError.
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: is cut short, altered or no {kind} file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
