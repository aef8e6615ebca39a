"""The fitted controls on records of a known law: its coefficients, covariance, corner, kappa and duration come back."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_records import made

from tsgen import config, generate, intensity, scenario, simulate
from tsgen.regression import ScenarioLaw, SpectrogramRegression
from tsgen.simulate import source
from tsgen.simulate.region import ACTIVE
from tsgen.stochastic import StochasticMethod, fitted

SETTINGS = replace(config.profile("smoke").cgm, iterations=8)
RATE, N = SETTINGS.sampling_rate_in_hz, SETTINGS.n_samples
COVARIANCE = np.array([[0.25, 0.1], [0.1, 0.16]])  # of a record's ln level below and above 6 Hz
SLOPES, STATION_TERMS = (1.1, -1.3), (2.0, 3.0)  # of the ln level with M and ln R; at M 5 and R 30 km

each_control = pytest.mark.parametrize("kind", [SpectrogramRegression, StochasticMethod])


def scenarios(n, seed):
    rng = np.random.default_rng(seed)
    columns = {"station": [f"TK.{i % 2:04d}" for i in range(n)], "magnitude": rng.uniform(4, 6.5, n)}
    return pd.DataFrame(columns | {"distance_in_km": np.exp(rng.uniform(2.5, 4.5, n))})


def mean_level(table):
    terms = np.array(STATION_TERMS)[table["station"].str[-1].astype(int)]
    return terms + SLOPES[0] * (table["magnitude"] - 5) + SLOPES[1] * np.log(table["distance_in_km"] / 30)


def planted(n=300, seed=0):
    """White noise whose level below and above 6 Hz follows the law, all components alike."""
    rng, table = np.random.default_rng(seed), scenarios(n, seed)
    levels = mean_level(table).to_numpy()[:, None] + rng.multivariate_normal([0, 0], COVARIANCE, n)
    above = (np.fft.rfftfreq(N, 1 / RATE) > 6).astype(int)
    spectrum = np.fft.rfft(rng.standard_normal((n, 3, N))) * np.exp(levels)[:, None, above]
    records = made(n=n, t=N, rate=RATE, **{name: table[name].to_numpy() for name in table})
    records._stored[:] = np.fft.irfft(spectrum, N)
    return records


def levels_of(waveforms):
    """(n, 2) ln root mean square amplitude below and above 6 Hz, a quarter octave from 6 Hz left out."""
    frequency = np.fft.rfftfreq(N, 1 / RATE)
    power = (np.abs(np.fft.rfft(waveforms.astype(float))) ** 2).mean(axis=1) / N
    bands = (frequency > 1) & (frequency < 5.5), (frequency > 6.5) & (frequency < 23)
    return np.stack([0.5 * np.log(power[:, band].mean(axis=1)) for band in bands], axis=1)


@pytest.fixture(scope="module")
def records():
    return planted()


@pytest.fixture(scope="module")
def empty(records):
    return records.take([])


def test_a_law_recovers_its_coefficients_and_its_covariance():
    rng, n, table = np.random.default_rng(1), 600, scenarios(600, 1)
    loadings = rng.standard_normal((3, 7))
    values = mean_level(table).to_numpy()[:, None] * np.arange(1, 8) + rng.standard_normal((n, 3)) @ loadings
    law, new = ScenarioLaw(values, table, 3), scenarios(400, 2)
    expected = mean_level(new).to_numpy()[:, None] * np.arange(1, 8)
    deviation = np.sqrt((loadings**2).sum(axis=0))
    error = (law.mean(new) - expected) / deviation  # eight coefficients of 600 values: sqrt(8 / 600) = 0.12
    assert np.sqrt((error**2).mean()) < 0.2 and np.abs(error.mean(axis=0)).max() < 0.15
    drawn = law.draw(new.iloc[np.zeros(20_000, int)], rng.standard_normal((20_000, 3)))
    wanted = loadings.T @ loadings
    # of a covariance, sqrt((Cii Cjj + Cij²) / 592): four of its standard errors
    limit = 4 * np.sqrt((np.outer(deviation, deviation) ** 2 + wanted**2) / 592)
    assert (np.abs(np.cov(drawn.T) - wanted) < limit).all()


def test_the_regression_generates_by_the_law_of_its_records(records, empty):
    law, asked = SpectrogramRegression(SETTINGS, empty, records), scenarios(400, 3)
    generated = generate.sample(law, scenarios=asked, seed=1)
    np.testing.assert_array_equal(generated.table["magnitude"], asked["magnitude"])
    left = levels_of(generated.waveforms) - mean_level(asked).to_numpy()[:, None]
    design = np.column_stack([asked["station"].str[-1] == "1", asked["magnitude"] - 5, np.ones(400)])
    # standard errors: 0.5 sqrt(8 / 300) = 0.08 of the fit's mean, 0.5 / sqrt(400) = 0.025 of the sample's
    assert np.abs(left.mean(axis=0)).max() < 0.12
    assert np.abs(np.linalg.lstsq(design, left)[0][:2]).max() < 0.2  # station and magnitude are asked for in vain
    covariance = np.cov(left.T)
    limit = 4 * np.sqrt((np.outer(*[np.diag(COVARIANCE)] * 2) + COVARIANCE**2) * (1 / 292 + 1 / 399))
    assert (np.abs(covariance - COVARIANCE) < limit).all(), covariance


def test_by_station_alone_where_magnitudes_are_unknown(records, empty):
    bare = records.with_columns(magnitude=np.nan, distance_in_km=np.nan)
    for kind in (SpectrogramRegression, StochasticMethod):
        generated = generate.sample(kind(SETTINGS, records, bare), n=100)
        assert "magnitude" not in generated.table or generated.table["magnitude"].isna().all()
        for station in records.stations:
            ours, theirs = (levels_of(some.select(station=station).waveforms) for some in (generated, records))
            # the scatter is that of the scenarios too: a deviation of 1.2, of means 0.15 at 100 and 150
            assert np.abs(ours.mean(axis=0) - theirs.mean(axis=0)).max() < 0.5
            assert np.abs(np.log(ours.std(axis=0) / theirs.std(axis=0))).max() < 0.3


def test_padding_counts_not(records, empty):
    half = N // 2
    short = records.with_columns(samples=half)
    cut = np.array(short.waveforms)
    cut[..., half:] = 0
    short._stored = cut
    waveforms = generate.sample(SpectrogramRegression(SETTINGS, empty, short), n=60).waveforms
    early, late = (np.log(part.std(axis=2)).mean() for part in (waveforms[..., :half], waveforms[..., half:]))
    assert abs(early - late) < 0.15  # where zeros counted it would be minus 7


# ---- the stochastic method ----


def on_a_layer(f0_in_hz):
    """120 simulated records at M 4.5 to 5.5 and 15 to 25 km."""
    one = {"n_target_records": (1,), "target_f0_in_hz": (f0_in_hz,), "f0_ln_scatter": (0.0,)}
    settings = replace(config.profile("quick").simulation, impedance_contrast=7.43, without=config.INGREDIENTS, **one)
    rng = np.random.default_rng(0)
    return simulate.fresh(settings, "SIM.01", rng.uniform(4.5, 5.5, 120), rng.uniform(15, 25, 120), seed=4)


@pytest.fixture(scope="module")
def brunes():
    """On rock as hard as the crust: a layer of 100 Hz, and this half space below it, change nothing in the band."""
    return on_a_layer(100.0)


@pytest.fixture(scope="module")
def stochastic(brunes):
    return StochasticMethod(config.profile("quick").cgm, brunes.take([]), brunes)


def test_the_shape_is_fitted_where_the_spectrum_is_of_that_shape():
    frequency = np.geomspace(0.3, 20, 60)
    truth = np.array([[2.0, np.log(0.8), 0.04], [-1.0, np.log(5.0), 0.02]])
    noise = 0.05 * np.random.default_rng(0).standard_normal((2, 60))
    level, ln_corner, kappa = truth.T[..., None]
    omega = 2 * np.pi * frequency
    spectra = np.exp(level - kappa * omega / 2) * omega**2 / (1 + frequency**2 / np.exp(2 * ln_corner))
    found = fitted(np.log(spectra) + noise, frequency)
    np.testing.assert_allclose(found, truth, atol=0.12)
    np.testing.assert_allclose(found[:, 2], truth[:, 2], atol=0.004)


@pytest.mark.parametrize("magnitude", [4.7, 5.3])
def test_planted_corner_and_kappa_come_back(stochastic, magnitude):
    at = pd.DataFrame({"station": ["SIM.01"], "magnitude": magnitude, "distance_in_km": 20.0})
    _, ln_corner, kappa = stochastic.law.mean(at)[0, :3]
    corner = simulate.corner_frequency(magnitude, ACTIVE.stress_drop_in_bar)
    assert abs(ln_corner - np.log(corner)) < 0.15
    # attenuation on the way, R f / (Q v) with Q = Q1 f^η, acts by its slope, (1 - η) R / (Q v), here of some 6 Hz
    quality = ACTIVE.quality_at_1_hz * 6**ACTIVE.quality_exponent
    path = (1 - ACTIVE.quality_exponent) * 20 / (quality * source.SHEAR_VELOCITY_IN_KM_PER_S)
    assert abs(kappa - (source.KAPPA_IN_S + path)) < 0.005


def test_generated_spectra_and_durations_are_those_of_the_records(stochastic, brunes):
    generated = generate.sample(stochastic, scenarios=brunes.table[["station", "magnitude", "distance_in_km"]], n=2)
    frequency = np.array([0.5, 1, 2, 4, 8, 15])
    ours, theirs = (np.log(intensity.fourier_amplitude(some, frequency)) for some in (generated, brunes))
    # the same scenarios, each of deviation 0.5 about them: 0.5 sqrt(1 / 240 + 1 / 120) = 0.06
    assert np.abs(ours.mean(axis=0) - theirs.mean(axis=0)).max() < 0.2
    ours, theirs = (np.log(intensity.measures(some)["d5_95_in_s"]) for some in (generated, brunes))
    assert abs(ours.mean() - theirs.mean()) < 0.1 and abs(np.log(ours.std() / theirs.std())) < 0.35


def test_the_site_term_has_the_planted_resonance():
    some = on_a_layer(5.0)
    method = StochasticMethod(config.profile("quick").cgm, some.take([]), some)
    horizontal, vertical = method.site["SIM.01"]
    assert abs(np.log(method.frequency_in_hz[horizontal.argmax()] / 5.0)) < 0.08  # steps of 0.07
    assert horizontal.max() > 0.8 and vertical[horizontal.argmax()] < 0.4


# ---- both ----


@each_control
def test_the_seed_alone_decides(kind, records, empty):
    first, again = (generate.sample(kind(SETTINGS, empty, records), n=3, seed=2) for _ in range(2))
    other = generate.sample(kind(SETTINGS, empty, records), n=3, seed=3)
    np.testing.assert_array_equal(first.waveforms, again.waveforms)
    assert np.abs(first.waveforms - other.waveforms).max() > 0.1
    assert first.table["event"].is_unique and set(first.table["source"]) == {kind.name}
    assert set(first.table["made_from"]) == {""} and set(first.table["seed"]) == {2}
    asked = records.table[["station", "magnitude"]].itertuples(index=False)
    assert {*first.table[["station", "magnitude"]].itertuples(index=False)} <= {*asked}


@each_control
@pytest.mark.parametrize("columns", [["magnitude", "distance_in_km"], []])
def test_three_records_of_one_station_are_enough(kind, columns, empty):
    some = made(n=3, t=N, rate=RATE, stations=1, distance_in_km=[10.0, np.nan, 30.0])
    some.table = some.table.drop(columns=columns)
    for background in (empty, planted(8)):
        generated = generate.sample(kind(SETTINGS, background, some), n=20)
        assert np.isfinite(generated.waveforms).all() and (generated.waveforms.std(axis=2) > 1e-3).all()


@each_control
def test_what_cannot_be_asked_for_is_refused(kind, records, empty):
    law = kind(SETTINGS, empty, records)
    with pytest.raises(ValueError, match=r"TK\.9999"):
        generate.sample(law, ["TK.9999"])
    with pytest.raises(ValueError, match=r"TK\.9999"):
        generate.sample(law, scenarios=scenarios(2, 0).assign(station="TK.9999"))
    with pytest.raises(ValueError, match="lack the columns magnitude"):
        generate.sample(law, scenarios=scenarios(2, 0).drop(columns="magnitude"))


def test_a_large_background_is_thinned(records, monkeypatch):
    monkeypatch.setattr(scenario, "MOST_BACKGROUND", 40)
    law = StochasticMethod(SETTINGS, records.with_columns(station="TK.B"), records.take(np.arange(20)))
    assert set(law.law.stations) == {"TK.0000", "TK.0001", "TK.B"} and len(law.bank) == 20
