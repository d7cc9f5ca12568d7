"""Words of messages."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one.

    Examples
    --------
    >>> counted(1, "epoch"), counted(10_000, "test sample")
    ('1 epoch', '10,000 test samples')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
