"""The decomposition of ln intensity: against a brute-force restricted likelihood, and on planted variances."""

import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from tsgen import config, simulate, variability


def planted(tau, phi_s2s, phi, n_events, n_stations, n, seed):
    """(ln y, magnitude, distance, event, station) of n records of crossed events and stations."""
    rng = np.random.default_rng(seed)
    event, station = rng.integers(n_events, size=n), rng.integers(n_stations, size=n)
    magnitude, distance = rng.uniform(4, 6.4, n_events)[event], np.exp(rng.uniform(2, 4.6, n))
    ln_y = 0.9 * magnitude - 1.4 * np.log(distance) + tau * rng.standard_normal(n_events)[event]
    ln_y = ln_y + phi_s2s * rng.standard_normal(n_stations)[station] + phi * rng.standard_normal(n)
    return ln_y, magnitude, distance, event, station


@pytest.mark.parametrize("seed", [0, 1])
def test_components_maximise_the_restricted_likelihood(seed):
    y, m, r, event, station = planted(0.5, 0.4, 0.45, 14, 9, 70, seed)
    design = np.column_stack([np.ones(70), m, m**2, np.log(r), m * np.log(r), r])
    contrasts = null_space(design.T).T  # what is left of y whatever the coefficients are
    same = [(codes[:, None] == codes).astype(float) for codes in (event, station)]

    def deviance(ln_scales):
        variances = np.exp(2 * ln_scales)
        covariance = variances[0] * same[0] + variances[1] * same[1] + variances[2] * np.eye(70)
        return -multivariate_normal(cov=contrasts @ covariance @ contrasts.T).logpdf(contrasts @ y)

    best = np.exp(minimize(deviance, np.log([0.5, 0.5, 0.5]), method="Nelder-Mead", options={"xatol": 1e-6}).x)
    found = variability.components(y, m, r, event, station)
    assert (found.tau, found.phi_s2s, found.phi) == pytest.approx(best, abs=2e-4)
    assert (found.n_events, found.n_stations) == (14, 9)


def test_planted_variances_are_found():
    found = [variability.components(*planted(0.51, 0.41, 0.45, 150, 40, 700, seed)) for seed in range(20)]
    means = [np.mean([getattr(one, name) for one in found]) for name in variability.TERMS]
    assert means == pytest.approx([0.51, 0.41, 0.45], abs=0.03)  # standard errors of the means 0.009, 0.012, 0.003
    none = [variability.components(*planted(0.0, 0.0, 0.45, 150, 40, 700, seed)) for seed in range(5)]
    assert np.mean([one.tau for one in none]) < 0.06 and np.mean([one.phi_s2s for one in none]) < 0.06


def test_too_few_or_unknown_records_are_refused_or_left_out():
    y, m, r, event, station = planted(0.5, 0.4, 0.45, 10, 5, 40, 0)
    with pytest.raises(ValueError, match="20 records"):
        variability.components(y[:20], m[:20], r[:20], event[:20], station[:20])
    with pytest.raises(ValueError, match="magnitude"):
        variability.components(y, np.where(event == 0, np.nan, m), r, event, station)
    records = simulate.network(config.profile("smoke").simulation, 0)
    assert variability.decomposition(records.with_columns(magnitude=np.nan)).empty
    assert variability.decomposition(records.take(np.arange(20))).empty


def test_a_network_s_decomposition_is_of_its_window(monkeypatch):
    records = simulate.network(config.profile("smoke").simulation, 0)
    table = variability.decomposition(records)
    assert list(table.index) == ["PGA", *(f"PSA {p:g} s" for p in variability.PERIODS_IN_S), "D5-75", "D5-95"]
    assert table["correlation"]["PSA 0.05 s"] == 1 and 0.3 < table["correlation"]["PSA 0.15 s"] < 1
    inside = (records.table["magnitude"] <= 6.4) & (records.table["distance_in_km"] <= 110)
    assert table["records"]["PGA"] == inside.sum() <= len(records)
    assert (table["given_station"] ** 2).to_numpy() == pytest.approx((table["tau"] ** 2 + table["phi"] ** 2).to_numpy())


def test_vs30_and_f0():
    records = simulate.network(config.profile("smoke").simulation, 0)
    correlation, scatter, n = variability.vs30_and_f0(records, records.table["site_f0_in_hz"].to_numpy())
    stations = records.table.drop_duplicates("station")
    both = np.log(stations[["site_f0_in_hz", "vs30_in_m_per_s"]].to_numpy())
    assert correlation == pytest.approx(np.corrcoef(both.T)[0, 1])
    assert n == 11 and scatter < np.log(stations["site_f0_in_hz"]).std()
    unknown = records.with_columns(vs30_in_m_per_s=np.nan)
    assert np.isnan(variability.vs30_and_f0(unknown, records.table["site_f0_in_hz"].to_numpy())[0])
