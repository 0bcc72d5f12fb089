"""The joint model of didanosine against zalcitabine by two roads: maximum likelihood here, NumPyro's NUTS.

    pip install numpyro
    python benchmarks/joint_model_nuts.py FOLDER     # of aids_long.csv and aids_id.csv

The second is written apart from the package: data read anew, times in months, cumulative hazard in closed
form, wide priors.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import polars as pl
from numpyro.infer import MCMC, NUTS

from equipoise.analyse.joint import joint_model
from equipoise.analyse.surrogate import marked_trial
from equipoise.record.mapping import analysis_input

MAPPING = Path(__file__).resolve().parents[1] / "docs" / "examples" / "ddi_ddc.yaml"
WARM_UP, DRAWS, CHAINS = 500, 1000, 2


def likelihood(folder: Path) -> dict[str, tuple[float, float]]:
    """Estimates and standard errors; slopes per month."""
    given = analysis_input(MAPPING, folder / "aids_id.csv")
    trial = marked_trial(replace(given, reference_arm="ddc"))
    fit = joint_model(trial, cuts=tuple(np.quantile(trial.time, np.arange(1, 7) / 7) + 1e-6 / 12))
    slope, difference = fit.fixed["slope per year"], fit.fixed["difference of slope per year"]
    return {
        "log hazard ratio of didanosine": (fit.log_hazard_arm.value, fit.log_hazard_arm.se),
        "association": (fit.association.value, fit.association.se),
        "slope": (slope.value / 12, slope.se / 12),
        "difference of slope": (difference.value / 12, difference.se / 12),
    }


def posterior(folder: Path) -> dict[str, tuple[float, float]]:
    """Posterior means and standard deviations of the same."""
    jax.config.update("jax_enable_x64", True)
    sampler = MCMC(
        NUTS(_model(pl.read_csv(folder / "aids_long.csv"))),
        num_warmup=WARM_UP, num_samples=DRAWS, num_chains=CHAINS,
        chain_method="sequential", progress_bar=False,
    )  # fmt: skip
    sampler.run(jax.random.PRNGKey(1))
    draws = sampler.get_samples()
    columns = {
        "log hazard ratio of didanosine": draws["gamma"], "association": draws["alpha"],
        "slope": draws["beta"][:, 1], "difference of slope": draws["beta"][:, 2],
    }  # fmt: skip
    return {name: (float(column.mean()), float(column.std(ddof=1))) for name, column in columns.items()}


def _model(rows: pl.DataFrame) -> Callable[[], None]:
    people = rows.unique("patient", keep="first", maintain_order=True)
    n = people.height
    who = np.searchsorted(people["patient"].to_numpy(), rows["patient"].to_numpy())
    at, value = rows["obstime"].to_numpy(), rows["CD4"].to_numpy()
    end, died = people["Time"].to_numpy(), people["death"].to_numpy()
    arm = (people["drug"] == "ddI").to_numpy().astype(float)
    cuts = np.quantile(end, np.arange(1, 7) / 7) + 1e-6
    edges = np.concatenate([[0.0], cuts, [np.inf]])
    low, high = np.minimum(edges[:-1], end[:, None]), np.minimum(edges[1:], end[:, None])
    interval = np.searchsorted(cuts, end)

    def model() -> None:
        beta = numpyro.sample("beta", dist.Normal(0, 10).expand([3]))
        sigma = numpyro.sample("sigma", dist.HalfNormal(10))
        sd = numpyro.sample("sd", dist.HalfNormal(jnp.array([20.0, 5.0])).to_event(1))
        root = sd[:, None] * numpyro.sample("root", dist.LKJCholesky(2, 1.0))
        gamma = numpyro.sample("gamma", dist.Normal(0, 5))
        alpha = numpyro.sample("alpha", dist.Normal(0, 5))
        log_hazard = numpyro.sample("log_hazard", dist.Normal(-3, 5).expand([7]))
        b = numpyro.sample("z", dist.Normal(0, 1).expand([n, 2]).to_event(2)) @ root.T
        level, slope = beta[0] + b[:, 0], beta[1] + beta[2] * arm + b[:, 1]
        numpyro.sample("y", dist.Normal(level[who] + slope[who] * at, sigma), obs=value)
        growth = alpha * slope[:, None]
        growth = jnp.where(jnp.abs(growth) < 1e-8, 1e-8, growth)
        by_interval = jnp.exp(log_hazard + growth * low) * jnp.expm1(growth * (high - low)) / growth
        hazard = (by_interval * jnp.exp(gamma * arm + alpha * level)[:, None]).sum(axis=1)
        at_end = log_hazard[interval] + gamma * arm + alpha * (level + slope * end)
        numpyro.factor("survival", (died * at_end - hazard).sum())

    return model


def main(folder: Path) -> None:
    """Print both, with the processor time that they took."""
    seconds, found = [], []
    for road in (likelihood, posterior):
        began = time.process_time()
        found.append(road(folder))
        seconds.append(time.process_time() - began)
    print(f"{'':32}{'maximum likelihood':>22}{'posterior':>22}")
    for name, (estimate, se) in found[0].items():
        mean, sd = found[1][name]
        print(f"{name:32}{f'{estimate:.4f} ({se:.4f})':>22}{f'{mean:.4f} ({sd:.4f})':>22}")
    print(f"{'seconds of processor':32}{seconds[0]:>22.1f}{seconds[1]:>22.1f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
