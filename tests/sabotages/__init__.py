"""For every protection a small edit that removes it, and the test that has to turn red by it.

Each edit leaves a program that works: only the protection is lost. One module for each folder of `app/security`.
"""

from importlib import import_module
from pkgutil import iter_modules

from tests.sabotages.sabotage import Sabotage as Sabotage

_MODULES = [
    import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__) if module.name != "sabotage"
]
SABOTAGES: list[Sabotage] = [sabotage for module in _MODULES for sabotage in module.SABOTAGES]
