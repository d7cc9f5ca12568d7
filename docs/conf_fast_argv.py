"""How the gallery runs the examples: fast, as the tests do."""


class FastArgv:
    """Give every example the argument ``--fast``."""

    def __repr__(self):
        return "FastArgv"

    def __call__(self, gallery_conf, script_vars):
        return ["--fast"]


fast_argv = FastArgv()
