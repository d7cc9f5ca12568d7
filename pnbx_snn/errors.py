"""What this package raises: one base class, leaves that are also the built-in a caller would expect."""


class PnbxError(Exception):
    """Base of every error that ``pnbx_snn`` raises on purpose."""


class PnbxValueError(PnbxError, ValueError):
    """A value is outside what is allowed; the message says what, the value got, what is allowed and where."""


class PnbxTypeError(PnbxError, TypeError):
    """An argument has the wrong type or dtype."""


class ShapeError(PnbxError, ValueError):
    """A tensor has the wrong shape."""


class ConfigError(PnbxError, ValueError):
    """A configuration file or ``--set`` override is not usable."""


class CheckpointError(PnbxError, ValueError):
    """A checkpoint is missing, truncated, altered or does not fit the model."""


class DataError(PnbxError, ValueError):
    """A data set is missing, truncated, altered or not what its name says."""


class MissingPackageError(PnbxError, ImportError):
    """A package that an extra brings is not installed; the message says which, and how to install it."""


class StorageError(PnbxError, OSError):
    """A file could not be written; what was saved before is untouched."""


class DataWarning(UserWarning):
    """A data set can be learned from, and something in it will not have the effect that it seems to have."""
