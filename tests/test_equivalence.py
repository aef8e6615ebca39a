"""Equivalence by intervals: planted differences are seen, sameness is declared only where the sample can show it."""

import numpy as np
import pandas as pd
import pytest

from tsgen import equivalence, residuals
from tsgen.equivalence import Sample
from tsgen.metrics import Estimate


def sample(n_events, seed, bias=0.0, spread=1.0, per_event=1, event_share=0.0, name="e"):
    """Standard normal values, of which ``event_share`` of the variance is common to an event."""
    rng = np.random.default_rng(seed)
    common = np.repeat(rng.standard_normal(n_events), per_event)
    own = rng.standard_normal(n_events * per_event)
    values = bias + spread * (np.sqrt(event_share) * common + np.sqrt(1 - event_share) * own)
    event = np.repeat([f"{name}{i}" for i in range(n_events)], per_event)
    return Sample(values, event, np.full(len(values), "SIM.01"))


def table_of(n, stations, seed):
    rng = np.random.default_rng(seed)
    columns = {"station": rng.choice(stations, n), "event": [f"{seed}-{i}" for i in range(n)]}
    columns |= {"magnitude": rng.uniform(4, 7, n), "distance_in_km": np.exp(rng.uniform(2, 4.5, n))}
    return pd.DataFrame(columns)


def test_a_planted_bias_is_never_called_equivalent():
    verdicts = [
        equivalence.verdict(
            equivalence.difference_of_medians(sample(400, i, 0.15, 0.3), sample(400, i + 99, 0, 0.3, name="f")), 0.1
        )
        for i in range(20)
    ]
    assert "equivalent" not in verdicts and "different" in verdicts


def test_sameness_is_declared_with_enough_events_and_not_with_few():
    def verdicts(n):
        pairs = [(sample(n, i, 0, 0.3), sample(n, i + 50, 0, 0.3, name="f")) for i in range(20)]
        return [equivalence.verdict(equivalence.difference_of_medians(*pair), 0.1) for pair in pairs]

    assert verdicts(500).count("equivalent") >= 18
    assert verdicts(15).count("equivalent") <= 2


def test_spread_is_judged_as_a_ratio():
    a, b = sample(2000, 0, spread=0.5), sample(2000, 1, spread=0.6, name="f")
    found = equivalence.ln_ratio_of_spreads(a, b)
    assert found.low < np.log(0.5 / 0.6) < found.high
    assert found.value == pytest.approx(np.log(a.values.std(ddof=1) / b.values.std(ddof=1)), abs=1e-12)
    assert equivalence.verdict(found, equivalence.SPREAD_BOUND) == "different"
    same = equivalence.ln_ratio_of_spreads(a, sample(2000, 2, spread=0.5, name="f"))
    assert equivalence.verdict(same, equivalence.SPREAD_BOUND) == "equivalent"


def test_verdict_reads_the_interval_not_the_value():
    assert equivalence.verdict(Estimate(0.0, -0.2, 0.2, 1), 0.1) == "undecided"
    assert equivalence.verdict(Estimate(0.09, 0.08, 0.1, 1), 0.1) == "equivalent"
    assert equivalence.verdict(Estimate(-0.3, -0.4, -0.11, 1), 0.1) == "different"
    assert equivalence.verdict(Estimate(np.nan, np.nan, np.nan, 0), 0.1) == "undecided"


def test_intervals_cover_at_their_level_because_events_are_drawn_whole():
    """Four records an event with half their variance in common: drawing records one by one would be too sure."""
    whole, alone = 0, 0
    for i in range(200):
        a = sample(40, i, per_event=4, event_share=0.6)
        b = sample(40, i + 1000, per_event=4, event_share=0.6, name="f")
        found = equivalence.difference_of_medians(a, b, n_draws=200)
        whole += found.low <= 0 <= found.high
        single = [
            Sample(s.values, np.arange(len(s.values)).astype(str) + side, s.station) for s, side in ((a, "a"), (b, "b"))
        ]
        found = equivalence.difference_of_medians(*single, n_draws=200)
        alone += found.low <= 0 <= found.high
    assert 0.84 < whole / 200 < 0.96  # 0.90, standard error 0.02
    assert alone / 200 < 0.82


def test_weighted_median_and_spread_are_those_of_repeated_values():
    rng = np.random.default_rng(0)
    values, weights = rng.standard_normal(23), rng.integers(0, 4, (50, 23))
    weights[3] = 0
    median, spread = equivalence._median(values, weights), equivalence._ln_std(values, weights)
    assert np.isnan(median[3]) and np.isnan(spread[3])
    for i in set(range(50)) - {3}:
        repeated = np.repeat(values, weights[i])
        assert median[i] == pytest.approx(np.median(repeated), abs=1e-12)
        assert spread[i] == pytest.approx(np.log(repeated.std(ddof=1)), abs=1e-9)


def test_same_events_on_both_sides_are_drawn_as_pairs():
    records = sample(60, 0)
    rebuilt = Sample(records.values + 0.05, records.event, records.station)
    found = equivalence.difference_of_medians(rebuilt, records)
    assert found.low == pytest.approx(0.05) and found.high == pytest.approx(0.05)


def test_nothing_to_compare_gives_no_number():
    nothing = Sample(np.array([]), np.array([], object), np.array([], object))
    for by_station in (False, True):
        found = equivalence.difference_of_medians(nothing, sample(5, 0), by_station)
        assert np.isnan([found.value, found.low, found.high]).all() and found.n == 0


def test_by_station_unequal_numbers_do_not_bias():
    """Two stations a factor e^3 apart, equal laws at each, but nine in ten records from another one of them."""
    rng = np.random.default_rng(0)
    level = {"A": 0.0, "B": 3.0}
    sides = []
    for share in (0.9, 0.1):
        station = rng.choice(["A", "B"], 600, p=[share, 1 - share])
        values = np.array([level[name] for name in station]) + rng.normal(0, 0.3, 600)
        sides.append(Sample(values, np.array([f"{share}-{i}" for i in range(600)]), station))
    assert equivalence.difference_of_medians(*sides).value < -2
    by_station = equivalence.difference_of_medians(*sides, by_station=True)
    assert by_station.low < 0 < by_station.high and by_station.high - by_station.low < 0.3


def test_compare_has_a_verdict_for_each_measure_and_skips_missing_values():
    table, other = table_of(800, ["A", "B"], 1), table_of(800, ["A", "B"], 2)
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.normal(0, 0.4, (800, 3)), columns=["same", "biased", "wide"]) * [1, 1, 1.4] + [0, 0.3, 0]
    reference = pd.DataFrame(rng.normal(0, 0.4, (800, 3)), columns=["wide", "same", "biased"])
    values.loc[:99, "same"] = np.nan
    found = equivalence.compare(values, reference, table, other, n_draws=300)
    assert found["median_verdict"].tolist() == ["equivalent", "different", "equivalent"]
    assert found["spread_verdict"].tolist() == ["equivalent", "equivalent", "different"]
    assert found["n"].tolist() == [700, 800, 800] and (found["n_reference"] == 800).all()
    alone = equivalence.difference_of_medians(
        Sample.of(values["biased"], table), Sample.of(reference["biased"], other), n_draws=300
    )
    assert found.loc["biased", ["median", "median_low", "median_high"]].tolist() == [alone.value, alone.low, alone.high]
    empty = equivalence.compare(values * np.nan, reference, table, other, n_draws=10)
    assert (empty["median_verdict"] == "undecided").all() and (empty["n"] == 0).all()
    with pytest.raises(ValueError, match="800 values, but 10 records"):
        Sample.of(values, table[:10])


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


def test_ln_loss_of_mixing_is_the_theory():
    """MODELS: -0.80 without replacement, -0.62 with it from nine records, -0.57 for Dirichlet(1), at k = 5."""
    assert equivalence.ln_loss_of_mixing(5) == pytest.approx((-0.805, -0.805), abs=5e-4)
    mean, of_mean = equivalence.ln_loss_of_mixing(5, n=9)
    assert (mean, of_mean) == pytest.approx((-0.638, -0.621), abs=2e-3)
    mean, of_mean = equivalence.ln_loss_of_mixing(5, weights="dirichlet")
    assert (mean, of_mean) == pytest.approx((-0.565, -0.549), abs=2e-3)
    assert equivalence.ln_loss_of_mixing(5, n=10**6)[1] == pytest.approx(-0.805, abs=1e-3)
    with pytest.raises(ValueError, match="dirichlet"):
        equivalence.ln_loss_of_mixing(5, weights="energy")


@pytest.mark.parametrize("form", ["without", "with", "dirichlet"])
def test_mixes_of_noise_lose_what_the_theory_says(form):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((9, 4000))
    noise = np.linalg.qr(noise.T)[0].T * np.sqrt(4000)  # exactly incoherent
    losses, theory = [], []
    for _ in range(400):
        weights = rng.dirichlet(np.ones(5)) if form == "dirichlet" else np.full(5, 0.2)
        chosen = rng.choice(9, 5, replace=form == "with")
        per_record = np.bincount(chosen, weights, minlength=9)
        losses.append(0.5 * np.log(((per_record @ noise) ** 2).mean()))
        theory.append(equivalence.ln_loss(per_record))
    np.testing.assert_allclose(losses, theory, atol=1e-9)
    expected = {
        "without": equivalence.ln_loss_of_mixing(5),
        "with": equivalence.ln_loss_of_mixing(5, n=9),
        "dirichlet": equivalence.ln_loss_of_mixing(5, weights="dirichlet"),
    }[form]
    assert np.mean(losses) == pytest.approx(expected[0], abs=4 * np.std(losses) / 20 + 1e-9)
    assert 0.5 * np.log(np.mean(np.exp(2 * np.array(losses)))) == pytest.approx(expected[1], abs=0.03)
