"""Times and bytes as people read them."""

from pnbx_snn.metrics.words import amount


def seconds(value: float) -> str:
    """Return a time.

    Examples
    --------
    >>> seconds(8.1e-5), seconds(2.0)
    ('81.0 µs', '2 s')
    """
    text = amount(value)
    return text + ("s" if text[-1].isalpha() or text[-1] == "µ" else " s")


def bytes_words(value: float | int) -> str:
    """Return bytes, in decimal units.

    Examples
    --------
    >>> bytes_words(1224192), bytes_words(512)
    ('1.22 MB', '512 B')
    """
    text = amount(value)
    return text + ("B" if text[-1].isalpha() else " B")
