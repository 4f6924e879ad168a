"""The deployment file ``mcpsec.toml``: its model, strict loading with positions, and scaffolding.

``model`` holds the frozen values, ``keys`` the one table that says which keys there are (loading, the JSON Schema and
the reference page all come from it), ``loading`` reads a file, ``files`` examines the files that it names,
``scaffold`` writes a new deployment.
"""

from mcpsec.deployment.loading import examine, load, override
from mcpsec.deployment.model import Deployment
from mcpsec.deployment.problems import Problem

__all__ = ["Deployment", "Problem", "examine", "load", "override"]
