"""Our generator: its station term is the closed form, follows scenario and station, and each part does its work."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tsgen import config, distance, features, generate, hvsr, intensity, measures, simulate
from tsgen.evolve import N_TIMES, Evolve, posterior
from tsgen.records import Records

QUICK = config.profile("quick")
NETWORK = replace(QUICK.simulation, n_background_stations=24, n_background_records=12, n_target_records=(12,) * 5)
STATIONS = [f"SIM.0{i}" for i in range(1, 6)]
N_GIVEN = 2  # records of a target


@pytest.fixture(scope="module")
def records():
    """Of another network than those that anything was chosen on."""
    return simulate.network(NETWORK, 31)


@pytest.fixture(scope="module")
def background(records):
    return records.take(~records.table["station"].isin(STATIONS).to_numpy())


@pytest.fixture(scope="module")
def training(records):
    some = records.select(station=STATIONS)
    return some.take((some.table.groupby("station").cumcount() < N_GIVEN).to_numpy())


@pytest.fixture(scope="module")
def ours(background, training):
    return Evolve(QUICK.cgm, background, training)


def rows(station, magnitude, distance_in_km, n):
    return pd.DataFrame({"station": station, "magnitude": magnitude, "distance_in_km": distance_in_km}, range(n))


# ---- the law ----


def covariance(rng, p):
    root = rng.normal(size=(p, 2 * p))
    return root @ root.T / p


@pytest.mark.parametrize("n", [1, 3])
def test_the_posterior_is_that_of_conditioning_the_joint_normal_law(n):
    rng, p = np.random.default_rng(0), 4
    between, within, seen = covariance(rng, p), covariance(rng, p), rng.normal(size=(n, p))
    joint = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)  # of all records of a station
    across = np.kron(np.ones((1, n)), between)  # of its term with them
    mean, root = posterior(between, within, seen.mean(axis=0), n)
    np.testing.assert_allclose(mean, across @ np.linalg.solve(joint, seen.ravel()), rtol=1e-8)
    np.testing.assert_allclose(root @ root.T, between - across @ np.linalg.solve(joint, across.T), atol=1e-10)


def test_no_record_leaves_the_prior_and_many_leave_their_own_mean():
    rng, p = np.random.default_rng(1), 4
    between, within, seen = covariance(rng, p), covariance(rng, p), rng.normal(size=p)
    mean, root = posterior(between, within, seen, 0)
    assert not mean.any()
    np.testing.assert_allclose(root @ root.T, between)
    far = [np.abs(posterior(between, within, seen, n)[0] - seen).max() for n in (1, 100, 100_000)]
    assert far[0] > 10 * far[1] > 100 * far[2]
    assert np.abs(posterior(between, within, seen, 100_000)[1]).max() < 0.01


def test_a_station_without_records_is_one_of_the_prior(background, ours):
    new = Evolve(QUICK.cgm, background, ours_none(background), ["XX.NEW"])
    assert new.stations == ("XX.NEW",) and "XX.NEW" not in new.terms
    made = generate.sample(new, n=3)
    assert made.stations == ["XX.NEW"] and set(made.table["magnitude"]) <= set(background.table["magnitude"])
    with pytest.raises(ValueError, match=r"not trained on SIM\.77"):
        new.sample(rows("SIM.77", 5.0, 30.0, 1))
    assert len(new.sample(rows("SIM.77", 5.0, 30.0, 1).assign(vs30_in_m_per_s=400.0))[0]) == 1


def ours_none(background):
    return background.take(np.zeros(len(background), bool))


# ---- what is generated ----


def test_a_realisation_follows_from_seed_and_numbers_alone(ours):
    asked = rows(["SIM.01", "SIM.02", "SIM.01"], [5.0, 6.0, 5.0], [30.0, 50.0, 30.0], 3)
    waves, table = ours.sample(asked, n=2, seed=4)
    assert waves.shape == (6, 3, QUICK.n_samples) and list(table["station"].iloc[::2]) == list(asked["station"])
    np.testing.assert_allclose(ours.sample(asked[:1], n=1, seed=4)[0][0], waves[0], atol=1e-4 * np.abs(waves[0]).max())
    others = waves[1], waves[4], ours.sample(asked, seed=5)[0][0]  # another number, another scenario, another seed
    assert max(np.abs(np.corrcoef(waves[0, 0], other[0])[0, 1]) for other in others) < 0.5


def test_it_lasts_as_its_law_says_and_has_the_spectrum_that_it_says(ours):
    table = rows("", np.linspace(5.0, 6.5, 60), np.geomspace(20.0, 60.0, 60), 60)  # of the prior
    asked, waves = ours._made(table, [torch.Generator().manual_seed(i) for i in range(60)])
    found = ours._measured(waves, ours._arrivals(table)[:, 1])[1]
    off = (found - asked)[:, :N_TIMES]
    scatter = asked[:, :N_TIMES].std(axis=0)  # what is off by chance has two thirds of it in the median
    assert np.abs(off.mean(axis=0)).max() < 0.1 and (np.median(np.abs(off), axis=0) < 0.35 * scatter).all()
    assert np.abs(found - asked)[:, N_TIMES:].mean() < 0.15  # the spectra scatter by 1


def test_magnitude_and_distance_move_peak_and_duration_as_they_move_the_truth(ours):
    def middle(records):
        found = intensity.measures(records)
        return np.log(found[["pga_rotd50_in_cm_s2", "d5_95_in_s"]]).mean().to_numpy()

    small, large, far = (5.0, 30.0), (6.2, 30.0), (5.0, 80.0)
    values = {}
    for of in (small, large, far):
        made = generate.sample(ours, scenarios=rows(STATIONS, *of, 5), n=16)
        true = simulate.fresh(NETWORK, STATIONS * 16, *of, seed=5, network_seed=31)
        values[of] = middle(made), middle(true)
    moved = {of: [values[of][i] - values[small][i] for i in range(2)] for of in (large, far)}  # ours, the truth
    assert moved[large][1][0] > 1.2 and moved[far][1][0] < -0.9 and moved[far][1][1] > 0.4
    for ours_moved, truth_moved in moved.values():  # three standard errors of 80 records
        assert (np.abs(ours_moved - truth_moved) < [0.5, 0.3]).all()


def features_of(some):
    return pd.concat(
        [
            some.table[["station", "event"]].reset_index(drop=True),
            measures.measures(some),
            features.wave(some),
            features.site(hvsr.hvsr(some, QUICK.hvsr)),
        ],
        axis=1,
    )


def test_from_two_records_it_is_nearer_to_fresh_truth_than_their_mean_with_others_scatter(ours, training, background):
    """By a fifth at least, the scenarios being the truth's."""
    asked = training.table.loc[np.repeat(training.table.index, 15), ["station", "magnitude", "distance_in_km"]]
    asked = asked.reset_index(drop=True)
    made = generate.sample(ours, scenarios=asked)
    true = simulate.fresh(NETWORK, *(asked[name] for name in asked), seed=7, network_seed=31)
    frames = {name: features_of(some) for name, some in (("t", training), ("b", background), ("m", made), ("y", true))}
    shifted = features.shifted(frames["t"], frames["b"], STATIONS, 30)
    for measure in ("site", "spectra", "duration"):
        unit = distance.Whitening.fit(frames["b"], list(features.FEATURES[measure]))
        truth, *sides = (unit.sample(each) for each in (frames["y"], frames["m"], shifted))
        near, far = (distance.estimate(each, truth, STATIONS, n_draws=0).value for each in sides)
        assert near < 0.8 * far, measure


# ---- what it is given ----


def test_recordings_without_magnitude_and_distance_are_of_a_station_alone(background, training):
    unknown = {"magnitude": np.nan, "distance_in_km": np.nan}
    of = [some.with_columns(**unknown) for some in (background, training)]
    law = Evolve(QUICK.cgm, *of)
    assert law.conditions == ("ln_vs30",)
    made = generate.sample(law, n=2)
    assert len(made) == 10 and "magnitude" not in made.table and np.isfinite(made.waveforms).all()


def test_short_recordings_lend_what_they_have(background, training):
    n = QUICK.n_samples // 2
    waves = np.array(background.waveforms)
    waves[..., n:] = 0
    short = Records(waves, background.sampling_rate_in_hz, background.table.assign(samples=n))
    made = generate.sample(Evolve(QUICK.cgm, short, training), n=4)
    level = np.log((made.waveforms.astype(float) ** 2).mean(axis=1))
    assert (level[:, -n // 4 :].mean(axis=1) - level[:, n : n + n // 4].mean(axis=1)).min() > -6  # no padding is lent


def test_one_station_tells_nothing_of_how_sites_differ(background, training):
    with pytest.raises(ValueError, match="two stations"):
        Evolve(QUICK.cgm, ours_none(background), training.select(station="SIM.01"))
