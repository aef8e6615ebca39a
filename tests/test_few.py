"""Few records: the station's term against brute force, planted stations and choices, and what nobody may see."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_study import recorded

from tsgen import config, findings, metrics, station_term
from tsgen.evidence import few, new_station
from tsgen.evidence.distances import energy_scores
from tsgen.evidence.new_station import ERGODIC, IDEAL, MODEL, OTHER, OURS
from tsgen.findings import Sample
from tsgen.measures import SPECTRAL
from tsgen.station_term import SpectralLaw, StationTerms
from tsgen.study import SHIFTED, Study

BETWEEN, WITHIN = np.array([[0.5, 0.2], [0.2, 0.3]]), np.array([[0.4, -0.1], [-0.1, 0.6]])


# ---- the station's term ----


def drawn_residuals(n_stations, n, seed=0):
    rng = np.random.default_rng(seed)
    terms = rng.multivariate_normal([0, 0], BETWEEN, n_stations)
    station = np.arange(n_stations).repeat(n)
    return terms[station] + rng.multivariate_normal([0.3, -0.2], WITHIN, len(station)), station


def test_the_posterior_is_that_of_brute_force():
    """Two oracles: conditioning of the joint Gaussian of δ and n records, and a grid in one dimension."""
    left = np.array([[1.0, 0.2], [0.4, -0.3], [0.9, 0.8]])
    mean = np.array([0.3, -0.2])
    told, doubt = StationTerms(mean, BETWEEN, WITHIN).posterior(left)
    joint = np.kron(np.ones((3, 3)), BETWEEN) + np.kron(np.eye(3), WITHIN)
    across = np.kron(np.ones((1, 3)), BETWEEN)
    np.testing.assert_allclose(told, across @ np.linalg.solve(joint, (left - mean).ravel()), rtol=1e-10)
    np.testing.assert_allclose(doubt, BETWEEN - across @ np.linalg.solve(joint, across.T), rtol=1e-10)
    delta = np.linspace(-6, 6, 20001)
    density = stats.norm.pdf(delta, 0, 0.7) * np.prod([stats.norm.pdf(y, delta, 0.5) for y in (1.0, 0.4)], axis=0)
    told, doubt = StationTerms(np.zeros(1), np.array([[0.49]]), np.array([[0.25]])).posterior(np.array([[1.0], [0.4]]))
    grid = (delta * density).sum() / density.sum()
    assert told[0] == pytest.approx(grid, abs=1e-6)
    assert doubt[0, 0] == pytest.approx(((delta - grid) ** 2 * density).sum() / density.sum(), abs=1e-6)


def test_without_records_it_is_the_prior_and_with_many_the_stations_own_mean():
    terms = StationTerms(np.zeros(2), BETWEEN, WITHIN)
    told, doubt = terms.posterior(np.empty((0, 2)))
    assert not told.any() and doubt is BETWEEN
    own = np.array([0.7, -0.4])
    told, doubt = terms.posterior(np.tile(own, (10_000, 1)))
    np.testing.assert_allclose(told, own, atol=1e-3)
    assert np.abs(doubt).max() < 1e-3


def test_moments_find_the_planted_covariances():
    found = StationTerms.fit(*drawn_residuals(4000, 3))
    np.testing.assert_allclose(found.between, BETWEEN, atol=0.03)  # that of station means would be 0.13 off
    np.testing.assert_allclose(found.within, WITHIN, atol=0.03)
    np.testing.assert_allclose(found.mean, [0.3, -0.2], atol=0.03)
    few_stations = StationTerms.fit(*drawn_residuals(4, 2, seed=3))
    assert np.linalg.eigvalsh(few_stations.between).min() > -1e-12
    with pytest.raises(ValueError, match="two records of one"):
        StationTerms.fit(np.zeros((3, 2)), ["A", "B", "C"])


def test_what_is_drawn_scatters_as_the_posterior_and_the_record_do():
    columns = SPECTRAL[:2]
    law = SpectralLaw(
        columns, lambda table: table[["magnitude"] * 2].to_numpy(float), StationTerms(np.ones(2), BETWEEN, WITHIN)
    )
    own = pd.DataFrame(
        {"magnitude": [5.0, 6.0], "distance_in_km": 10.0, columns[0]: [7.0, 8.0], columns[1]: [6.5, 7.0]}
    )
    asked = pd.DataFrame({"magnitude": [4.0]})
    drawn = law.drawn(own, asked, 40_000, np.random.default_rng(0)).to_numpy()
    told, doubt = law.terms.posterior(np.array([[2.0, 1.5], [2.0, 1.0]]))
    np.testing.assert_allclose(drawn.mean(axis=0), 4.0 + 1.0 + told, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), doubt + WITHIN, atol=0.03)


def test_a_regressed_median_gives_back_the_planted_law():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"magnitude": rng.uniform(4, 7, 60), "distance_in_km": rng.uniform(5, 100, 60)})
    r = table["distance_in_km"]
    table[SPECTRAL[0]] = 1 + 0.9 * table["magnitude"] - 1.3 * np.log(r) - 0.004 * r
    median = station_term.regressed(table, SPECTRAL[:1])
    np.testing.assert_allclose(median(table)[:, 0], table[SPECTRAL[0]], atol=1e-8)


# ---- how near ----


def sample(values, station="A", events=None):
    events = [f"{station}{i}" for i in range(len(values))] if events is None else events
    return Sample(np.asarray(values, float), np.array(events, object), np.array([station] * len(values), object))


def test_twice_the_scores_less_the_spread_is_the_energy_distance_where_each_record_has_its_own_event():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12, 3))
    y += 0.5
    ours, theirs = sample(x, events=[f"x{i}" for i in range(12)]), sample(y)
    judged = few.Judged(theirs, 0)
    told = judged.told([2 * judged.by_station(energy_scores(ours, theirs)) - judged.spread])
    assert told.value == pytest.approx(metrics.energy_distance(x, y)) and told.low < told.value < told.high


def test_records_at_one_scenario_do_not_pretend_to_be_independent():
    """One law: with the pairs of one scenario the distance would lie below 0 by a tenth of the scatter."""
    rng, n, k, values, naive = np.random.default_rng(0), 12, 3, [], []
    for _ in range(60):
        scenario = rng.normal(size=(n, 1, 2))
        x, y = ((scenario + 0.4 * rng.normal(size=(n, k, 2))).reshape(-1, 2) for _ in range(2))
        events = np.arange(n).repeat(k).astype(str)
        ours, theirs = sample(x, events=events), sample(y, events=events)
        judged = few.Judged(theirs, 0)
        values.append(np.mean(2 * judged.by_station(energy_scores(ours, theirs))[:, 0] - judged.spread[:, 0]))
        naive.append(metrics.energy_distance(x, y))
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error < 0.05 and error < 0.01
    assert not np.allclose(np.mean(naive), np.mean(values), atol=1e-3)


def test_choices_are_drawn_again_and_a_missing_station_is_left_out():
    first = np.array([[1.0] * 401, [np.nan] * 401])
    assert (few.drawn([first]) == 1.0).all()
    both = few.drawn([first, first + 2.0])
    assert both[0] == 2.0 and set(both[1:]) == {1.0, 2.0, 3.0}


# ---- a study ----


@pytest.fixture(scope="module")
def rows(study):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings, "N_DRAWS", 40)
        return few.few(study)


def test_smaller_choices_are_parts_of_larger_ones_and_another_choice_is_another(study):
    few_of = [set(new_station.chosen(study, 0, n)) for n in (1, 2, 5, new_station.ALL)]
    assert few_of[0] < few_of[1] < few_of[2] < few_of[3] and len(few_of[3]) == len(study.training)
    assert [len(part) for part in few_of[:3]] == [5, 10, 25]
    assert set(new_station.chosen(study, 1, 2)) != few_of[1]
    assert new_station.numbers(study) == [0, 1, 2, 5, "all"] and new_station.numbers(study, 1) == [1, 2, 5]


def test_everyone_is_given_the_same_and_told_for_each_n(study, rows):
    assert set(rows["protocol"]) == {"few"}
    led = findings.select(rows, against="fresh", statistic="energy distance", station="", measure="spectra")
    by_n = led.groupby("set")["subject"].apply(set)
    assert by_n["n = 0"] == {OURS, "cgm", MODEL, ERGODIC}
    given = {OURS, OTHER, MODEL, ERGODIC, SHIFTED, "control_bootstrap", "control_renoised"}
    assert by_n["n = 1"] == by_n["n = 2"] == by_n["n = 5"] == given and by_n["n = all"] == given | {"training"}
    pairs = findings.select(rows, subject=OURS, against=SHIFTED, set="n = 2", statistic="energy distance")
    for row in pairs.to_dict("records"):
        sides = [
            findings.one(led if row["measure"] == "spectra" else rows, subject=name, against="fresh", station="",
                         measure=row["measure"], statistic="energy distance", set="n = 2")["value"]
            for name in (OURS, SHIFTED)
        ]  # fmt: skip
        assert row["value"] == pytest.approx(sides[0] - sides[1], abs=2e-5)
    assert set(pairs["measure"]) == {"site", "spectra", "duration", "wave"}
    largest = findings.one(rows, subject=OURS, against=SHIFTED, set="n = 2", statistic=few.LARGEST)["value"]
    assert largest == pytest.approx(pairs["value"].max(), abs=2e-5)
    assert {*findings.select(rows, measure=("r2", "largest_correlation"))["set"]} == {
        f"n = {n}" for n in (1, 2, 5, "all")
    }
    scored = findings.select(rows, statistic=few.SCORE)
    assert set(scored["subject"]) == {OURS, "cgm", MODEL, ERGODIC} and (scored["value"] > 0).all()


def test_another_stations_generator_and_all_recordings_end_where_they_must(rows):
    at = {"against": "fresh", "measure": "site", "statistic": "skill"}
    own, other = (findings.one(rows, subject=name, set="n = all", **at)["value"] for name in (OURS, OTHER))
    assert own > other + 0.3
    null = findings.one(rows, subject="training", set="n = all", **at)
    assert null["low"] < 1.05 and null["value"] > 0.9


def test_a_held_out_recording_is_judged_by_the_fold_that_has_not_seen_it(monkeypatch):
    """Each of two folds is right for its own held-out events and 9 off for the other's, which it was trained on."""
    rng, columns = np.random.default_rng(0), list(SPECTRAL[:2])
    monkeypatch.setattr(new_station, "spectral", lambda study: columns)
    truth = pd.DataFrame(rng.normal(size=(8, 4)), columns=[*columns, *new_station.MEASURED])
    truth = truth.assign(station=["A", "A", "B", "B"] * 2, event=list("abcdefgh"))
    folds = [truth[:4], truth[4:]]
    made = [pd.concat([fold, fold, *[other.set_index(["station", "event"]).add(9).reset_index()] * 2])
            for fold, other in zip(folds, folds[::-1], strict=True)]  # fmt: skip
    rows = few._given(SimpleNamespace(seed=0), {("n = 1", OURS): [made]}, folds, "held_out")
    assert [row["measure"] for row in rows] == ["psa", "pga", "d5_95"]
    assert [row["value"] for row in rows] == pytest.approx([0, 0, 0], abs=1e-12)
    swapped = few._given(SimpleNamespace(seed=0), {("n = 1", OURS): [made[::-1]]}, folds, "held_out")
    assert [row["value"] for row in swapped] == pytest.approx([9, 9, 9])


def test_recorded_stations_are_left_out_one_by_one(tmp_path):
    distance_in_km = np.geomspace(10, 90, 60)[np.random.default_rng(0).permutation(60)]
    folder = recorded(tmp_path / "set", distance_in_km=distance_in_km)
    run = Study("smoke", folder, stations="TK.0000,TK.0001", folder=tmp_path / "run")
    assert new_station.left_out(run) == [["TK.0000"], ["TK.0001"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings, "N_DRAWS", 40)
        told = findings.table(few.told([run], (OURS,)))
    assert "fresh" not in set(told["against"]) and {"n = 0", "n = 4"} <= set(told["set"])
    of = {"subject": OURS, "against": "held_out", "measure": "site", "station": "", "set": "n = 2"}
    assert np.isfinite(findings.one(told, statistic="skill", **of)["value"])


def test_the_ideal_is_the_nearest_of_all_who_know_no_more(study):
    """Simulated with covariances that it knows, it lies no farther than the model that must fit them."""
    settings = replace(config.profile("smoke").simulation, n_background_stations=20, n_background_records=10)
    pool = station_term.simulated(settings, (1001,))
    assert len(pool) == 200 + 60 and pool["station"].nunique() == 25 and pool[list(SPECTRAL)].notna().all(axis=None)
    law = SpectralLaw.fit(pool, SPECTRAL, station_term.regressed(pool, SPECTRAL))
    assert np.abs(law.residuals(pool).mean(axis=0)).max() < 1e-8
    part = new_station.everyone(study, 0, (OURS,), False, pool)
    counts = part[part["subject"] == IDEAL].groupby("set").size()
    assert counts.nunique() == 1 and len(counts) == 5


@pytest.mark.parametrize("name", new_station.WHOLE)
def test_everyone_who_makes_waves_makes_them_of_the_station_s_records(study, name):
    own = study.training.take(new_station.chosen(study, 0, 2))
    made = new_station._made(study, name, study.background, own, new_station.scenarios(study, False), 0)
    assert made.stations == study.stations and np.abs(made.waveforms).max(axis=2).all()
