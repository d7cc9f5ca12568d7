"""Search for networks that read well and cost little: many short trainings, and the Pareto front of what they found."""

import pnbx_extras
from pnbx_snn.errors import MissingPackageError

if _missing := pnbx_extras.missing("search", "pnbx_snn.search"):
    raise MissingPackageError(_missing)
