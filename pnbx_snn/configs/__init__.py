"""The configurations that come with this package, found by name; reading one needs neither torch nor pydantic."""

import difflib
from pathlib import Path

from pnbx_snn.errors import ConfigError


def known_configs() -> dict[str, Path]:
    """Return the files of the configurations that come with this package, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def config_path(path: str | Path) -> Path:
    """Return the file of a configuration: what ``path`` names, or the one of this package that has this name.

    Raises
    ------
    ConfigError
        If there is no such file, and no configuration of this name.

    Examples
    --------
    >>> config_path("digits").name
    'digits.toml'
    """
    known = known_configs()
    if str(path) in known and not Path(path).is_file():
        return known[str(path)]
    if not Path(path).exists():
        if Path(path).suffix:
            raise ConfigError(f"{path}: no such file; `pnbx-snn config` lists the configurations of the package")
        near = difflib.get_close_matches(str(path), known, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"{path}: there is no such file, and no configuration of this name{meant} ({', '.join(known)})"
        )
    return Path(path)


def summary(path: Path) -> str:
    """Return what a configuration is for: its first line, which is a comment.

    Examples
    --------
    >>> summary(config_path("digits"))
    'Handwritten digits of scikit-learn: 15 s on one core.'
    """
    return path.read_text().partition("\n")[0].removeprefix("# ")
