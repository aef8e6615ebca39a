"""Residuals, trends and the correlation of periods: planted coefficients and correlations are found."""

import numpy as np
import pandas as pd
import pytest

from tsgen import findings, residuals
from tsgen.findings import FAILS, HOLDS, Sample, verdict


def table_of(n, stations, seed):
    rng = np.random.default_rng(seed)
    columns = {"station": rng.choice(stations, n), "event": [f"{seed}-{i}" for i in range(n)]}
    columns |= {"magnitude": rng.uniform(4, 7, n), "distance_in_km": np.exp(rng.uniform(2, 4.5, n))}
    return pd.DataFrame(columns)


def test_scaling_finds_the_planted_coefficients_and_leaves_their_residuals():
    table = table_of(4000, ["A", "B", "C"], 3)
    rng = np.random.default_rng(4)
    terms = table["station"].map({"A": 0.5, "B": 0.0, "C": -0.5}).to_numpy()
    noise = rng.normal(0, 0.6, (4000, 2))
    planted = terms + 1.1 * table["magnitude"].to_numpy() - 1.4 * np.log(table["distance_in_km"].to_numpy())
    ln_values = planted[:, None] * [1.0, 0.5] + noise
    scaling = residuals.Scaling.fit(ln_values, table)
    np.testing.assert_allclose(scaling.coefficients[-2:], [[1.1, 0.55], [-1.4, -0.7]], atol=0.05)
    np.testing.assert_allclose(scaling.coefficients[0] - scaling.coefficients[2], [1.0, 0.5], atol=0.08)
    assert np.abs(scaling.residuals(ln_values, table) - noise).max() < 0.1
    biased = scaling.residuals(ln_values + 0.3, table)
    np.testing.assert_allclose(biased.mean(axis=0), 0.3, atol=1e-9)


def test_scaling_leaves_out_what_it_cannot_know():
    table = table_of(200, ["A", "B"], 5)
    ln_values = np.random.default_rng(0).standard_normal((200, 1))
    whole = residuals.Scaling.fit(ln_values[20:], table[20:])
    table.loc[:9, "magnitude"] = np.nan
    table.loc[10:19, "distance_in_km"] = 0.0
    scaling = residuals.Scaling.fit(ln_values, table)
    np.testing.assert_allclose(scaling.coefficients, whole.coefficients)
    assert np.isnan(scaling.residuals(ln_values, table)[:20]).all()
    ln_values[(table["station"] == "B").to_numpy()] = np.nan
    without = residuals.Scaling.fit(ln_values, table).residuals(np.zeros((200, 1)), table)[20:, 0]
    assert (np.isnan(without) == (table["station"][20:] == "B")).all()
    with pytest.raises(ValueError, match="no station term for C"):
        scaling.residuals(ln_values, table.assign(station="C"))
    with pytest.raises(ValueError, match="no record has a magnitude"):
        residuals.Scaling.fit(ln_values, table.assign(magnitude=np.nan))


def scaled(n, seed):
    """A frame whose ln values follow magnitude and distance, beside one that nothing shows."""
    table = table_of(n, ["A", "B"], seed)
    level = 1.2 * table["magnitude"] - 1.1 * np.log(table["distance_in_km"])
    return table.assign(pga=level + np.random.default_rng(seed).normal(0, 0.3, n), pgv=np.nan)


def test_given_the_scenario_its_scatter_is_gone_and_a_bias_stays():
    fit, ours, theirs = scaled(500, 0), scaled(200, 1), scaled(200, 2)
    ours["pga"] += 0.4
    left, reference = residuals.given_scenario(["pga", "pgv"], fit, ours, theirs)
    assert left["pga"].std() < 0.4 < 1.2 < ours["pga"].std() and left["pgv"].isna().all()
    assert left["pga"].mean() - reference["pga"].mean() == pytest.approx(0.4, abs=0.1)


def test_without_magnitudes_values_are_compared_as_they_are():
    frame = scaled(100, 0)
    few = frame.assign(magnitude=frame["magnitude"].where(np.arange(100) < 40))
    for unknown in (frame.assign(magnitude=np.nan), few):
        left, same = residuals.given_scenario(["pga"], frame, frame, unknown)
        pd.testing.assert_frame_equal(left, frame[["pga"]])
        pd.testing.assert_frame_equal(same, unknown[["pga"]])
    assert not residuals.known_scenarios(frame, few) and residuals.known_scenarios(frame, frame)


def test_a_station_that_the_fit_lacks_takes_its_term_from_the_frames():
    fit, ours = scaled(500, 0), scaled(200, 1)
    ours["station"], ours["pga"] = "C", ours["pga"] + 2.0
    (left,) = residuals.given_scenario(["pga"], fit, ours)
    assert abs(left["pga"].mean()) < 0.1 and left["pga"].std() < 0.4


def test_planted_trends_are_found():
    """0.3 per magnitude unit and -0.2 per unit of ln distance, at stations of unequal level and number."""
    rng = np.random.default_rng(0)
    n = 400
    table = pd.DataFrame(
        {"station": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]), "magnitude": rng.uniform(4, 7, n)}
    )
    table["distance_in_km"], table["event"] = np.exp(rng.uniform(2, 5, n)), [f"e{i}" for i in range(n)]
    level = 1.2 * table["magnitude"] - 1.1 * np.log(table["distance_in_km"]) + 0.5 * (table["station"] == "b")
    theirs = table.assign(pga=level + 0.2 * rng.normal(size=n))
    trend = 0.3 * table["magnitude"] - 0.2 * np.log(table["distance_in_km"])
    ours = table.assign(pga=level + trend + 0.2 * rng.normal(size=n), event="g" + table["event"])
    found = residuals.trends(["pga", "pgv"], ours.assign(pgv=np.nan), theirs.assign(pgv=np.nan))
    assert [(row["column"], row["statistic"]) for row in found] == [
        ("pga", "slope_magnitude"),
        ("pga", "slope_ln_distance"),
    ]
    same = residuals.trends(["pga"], theirs.assign(event="g" + theirs["event"]), theirs)
    for row, other, planted in zip(found, same, (0.3, -0.2), strict=True):
        slope = row["estimate"]
        assert slope.value == pytest.approx(planted, abs=0.04) and slope.low < planted < slope.high
        assert slope.high - slope.low < 0.12 and row["n"] == row["n_against"] == n
        assert verdict(slope.low, slope.high, (-0.1, 0.1)) == FAILS
        assert verdict(other["estimate"].low, other["estimate"].high, (-0.1, 0.1)) == HOLDS
    told = findings.tell("cgm", "fresh", found, lambda column: {"measure": column}, protocol="scenario")
    assert [row["statistic"] for row in told] == ["slope_magnitude", "slope_ln_distance"]


def correlated(n, range_in_ln_period, seed, name="e"):
    """Residuals whose correlation falls with the ratio of periods, as Baker and Jayaram's does."""
    ln_period = np.log(np.geomspace(0.05, 3, 8))
    rho = np.exp(-np.abs(np.subtract.outer(ln_period, ln_period)) / range_in_ln_period)
    values = np.random.default_rng(seed).multivariate_normal(np.zeros(8), rho, n) * np.linspace(0.5, 0.9, 8)
    return Sample(values, np.array([f"{name}{i}" for i in range(n)]), np.full(n, "A")), rho


def test_interperiod_correlation_is_the_planted_one_and_numpys():
    drawn, rho = correlated(5000, 1.5, 0)
    found = residuals.interperiod_correlation(drawn.values)
    np.testing.assert_allclose(found, np.corrcoef(drawn.values.T), atol=1e-12)
    np.testing.assert_allclose(found, rho, atol=0.05)
    weights = np.random.default_rng(1).integers(0, 3, 5000)
    repeated = np.repeat(drawn.values, weights, axis=0)
    np.testing.assert_allclose(
        residuals.interperiod_correlation(drawn.values, weights), np.corrcoef(repeated.T), atol=1e-12
    )
    holes = drawn.values[:300].copy()
    holes[::3, 0] = np.nan
    holes[:, 7] = np.nan
    found = residuals.interperiod_correlation(holes)
    np.testing.assert_allclose(found, pd.DataFrame(holes).corr().to_numpy(), atol=1e-12)


def test_correlation_difference_sees_a_planted_one_beyond_what_sameness_shows():
    a, rho = correlated(300, 1.5, 0)
    b, other = correlated(300, 0.5, 1, name="f")
    exact = np.abs(rho - other)[np.triu_indices(8, 1)].mean()
    found, same = residuals.correlation_difference(a, b)
    assert found.low < exact < found.high and found.low > same.high
    found, same = residuals.correlation_difference(a, correlated(300, 1.5, 2, name="f")[0])
    assert found.value < same.high < 0.12 and found.low < 0.1
