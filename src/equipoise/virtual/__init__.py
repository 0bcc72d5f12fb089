"""Virtual participants: who they are, how their CD4 count moves, what happens to them, what they do.

Parameters live in `library/*.yaml`; chance comes from counter-based streams (`philox`, `streams`); the
model is a handful of scalar functions (`latent`, `virology`, `hazards`, `habits`, `observation`) that run
compiled.
"""

from equipoise.virtual.parameters import (
    Biology,
    Dials,
    Habits,
    Kernel,
    Population,
    bundled_populations,
    kinds_not_simulated,
    load_population,
    require_simulable,
)

__all__ = [
    "Biology", "Dials", "Habits", "Kernel", "Population", "bundled_populations", "kinds_not_simulated",
    "load_population", "require_simulable",
]  # fmt: skip
