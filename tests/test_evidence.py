"""The evidence: planted amplitudes and stacks are found, controls fail and pass as they must, recordings work too."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import few_draws
from test_study import forbid, recorded

from tsgen import config, evidence, findings, generate, measures, roles, simulate
from tsgen.evidence import averaging, bias, copying, scores
from tsgen.findings import FAILS, HOLDS, interval, one, select, verdict
from tsgen.records import Records
from tsgen.study import Study

SMOKE = config.profile("smoke")


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Two simulated stations with many records, so that verdicts can be asked for; nothing is trained."""
    simulation = replace(
        SMOKE.simulation,
        n_target_records=(180, 180),
        target_f0_in_hz=(2.6, 6.4),
        f0_ln_scatter=(0.1, 0.1),
        n_background_stations=1,
        without=config.INGREDIENTS,  # what is planted is told by the judge, whatever the truth scatters
    )
    profile = replace(SMOKE, simulation=simulation, n_generated=200, n_fresh=400, n_halves=60)
    return Study(profile, folder=tmp_path_factory.mktemp("truth"))


def some_records(n=6, **columns):
    return simulate.fresh(SMOKE.simulation, ["SIM.01"] * n, 5.0, 40.0).with_columns(**columns)


# ---- what is measured ----


def test_twice_the_motion_adds_ln_2_to_every_amplitude_and_nothing_to_the_rest():
    records = some_records()
    twice = Records(2 * records.waveforms, records.sampling_rate_in_hz, records.table)
    step = measures.measures(twice) - measures.measures(records)
    same = ["d5_75", "d5_95", *measures.SANITY]
    np.testing.assert_allclose(step[same], 0, atol=1e-5)
    np.testing.assert_allclose(step["arias"], np.log(4), atol=1e-5)
    rest = step.drop(columns=[*same, "arias"])
    shown = rest.columns[rest.notna().all()]
    assert len(shown) >= 20 + 3 * 10 + 4
    np.testing.assert_allclose(rest[shown], np.log(2), atol=1e-5)


def test_measures_outside_the_usable_band_are_missing():
    found = measures.measures(some_records(usable_to_hz=12.0))
    short = measures.PERIODS_IN_S < 1 / 12
    assert found[np.array(measures.SPECTRAL)[short]].isna().all(axis=None)
    assert found[np.array(measures.SPECTRAL)[~short]].notna().all(axis=None)
    assert found["fourier_e_16.00"].isna().all() and found["fourier_e_0.50"].notna().all()


def test_sanity_sees_a_planted_offset_noise_before_p_and_the_lead_of_p():
    rate, n = 50.0, 1024
    time = np.arange(n) / rate
    burst = np.exp(-(((time[None] - np.array([[10.0], [7.0]])) / 0.5) ** 2)) * np.sin(40 * time)  # S, P
    wave = np.stack([burst[0], burst[0], burst[1]])[None].astype(np.float32)
    clean = Records(wave, rate, some_records(1).table.assign(samples=n))
    offset, noisy = (Records(wave + more, rate, clean.table) for more in (0.05, 0.3 * np.sign(np.sin(3 * time))))
    drift, quiet, lead = (
        np.concatenate(each) for each in zip(*map(measures.sanity, (clean, offset, noisy)), strict=True)
    )
    assert drift[1] > 0.9 > drift[0] + 0.2
    assert quiet[0] < 1e-3 and 0.1 < quiet[2] < 0.5
    assert lead[0] == pytest.approx(3.0, abs=0.1)


def test_columns_have_the_keys_of_findings():
    assert measures.keys_of("pga") == {"measure": "pga"}
    assert measures.keys_of(measures.SPECTRAL[0]) == {"measure": "psa", "period_in_s": 0.05}
    assert measures.keys_of("fourier_e_2.00") == {"measure": "fourier_e", "period_in_s": 0.5}
    keys = [tuple(sorted(measures.keys_of(column).items())) for column in measures.COLUMNS]
    assert len(set(keys)) == len(measures.COLUMNS)


# ---- averaging ----


def noise(n=24, t=4096, shared=0.0, seed=0):
    """Records of noise at one station, ``shared`` of whose power is common to all."""
    rng = np.random.default_rng(seed)
    waves = np.sqrt(1 - shared) * rng.standard_normal((n, 3, t)) + np.sqrt(shared) * rng.standard_normal((3, t))
    table = some_records(1).table
    table = pd.concat([table] * n, ignore_index=True).assign(event=[f"N{i}" for i in range(n)], samples=t)
    return Records((waves * np.exp(rng.normal(0, 1, (n, 1, 1)))).astype(np.float32), 50.0, table)


@pytest.mark.parametrize("form", ["without replacement", "with replacement", "dirichlet"])
def test_mixes_of_incoherent_records_lose_what_the_theory_says(form):
    found = averaging.losses(generate.PlainAverage(), noise(), 5)
    (loss, theory), (energy, none) = found[form], found["energy"]
    assert loss.low <= theory <= loss.high and loss.high - loss.low < 0.05
    assert abs(energy.value) < 0.02 and none == 0
    expected = {
        "without replacement": -0.805,
        "with replacement": 0.5 * np.log(1 / 5 + 4 / (5 * 24)),
        "dirichlet": -0.549,
    }
    assert theory == pytest.approx(expected[form], abs=1e-3)


@pytest.mark.parametrize("form", ["without replacement", "with replacement", "dirichlet"])
def test_the_mean_square_of_the_weights_is_that_of_weights_drawn(form):
    """MODELS: ½ ln of it is -0.80 without replacement, -0.62 with it from nine records, -0.55 for Dirichlet(1)."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(4000):
        weights = rng.dirichlet(np.ones(5)) if form == "dirichlet" else np.full(5, 0.2)
        chosen = rng.choice(9, 5, replace=form == "with replacement")
        drawn.append((np.bincount(chosen, weights, minlength=9) ** 2).sum())
    found = averaging.mean_square(form, 5, 9)
    assert found == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(4000) + 1e-9)
    theory = {"without replacement": -0.805, "with replacement": -0.621, "dirichlet": -0.549}[form]
    assert 0.5 * np.log(found) == pytest.approx(theory, abs=2e-3)
    assert averaging.mean_square("without replacement", 5, 3) == pytest.approx(1 / 3)  # there are no more
    assert averaging.mean_square("with replacement", 5, 10**6) == pytest.approx(0.2, abs=1e-5)
    with pytest.raises(ValueError, match="dirichlet"):
        averaging.mean_square("other", 5, 9)


def test_the_predicted_loss_is_that_of_mixes_that_are_made():
    records = noise(n=8, shared=0.3)
    found = averaging.covariances(generate.PlainAverage(), records)
    for k in (2, 5, 8):
        model = generate.PlainAverage()
        z = model.encode_records(records)[0]
        chosen = generate.weight_matrix(np.random.default_rng(k), 4000, 8, k)
        mixed = torch.einsum("nm,mtc->ntc", torch.from_numpy(chosen).float()[:200], z)
        measured_loss = 0.5 * np.log(mixed.var(1, correction=0).mean().item())
        predicted = averaging.ln_loss(found, 1 / k, [np.ones((2, 8))]).value
        assert predicted == pytest.approx(measured_loss, abs=0.02)
        assert measured_loss > 0.5 * np.log(1 / k) + 0.05  # coherent records lose less, and it is seen


def test_what_a_change_leaves_of_a_record_is_found_whatever_its_size():
    records, rng = noise(n=30), np.random.default_rng(3)
    scale = rng.lognormal(0, 2, (30, 1, 1))
    some = Records((scale * records.waveforms).astype(np.float32), records.sampling_rate_in_hz, records.table)
    other = Records(np.roll(some.waveforms, 1, axis=2), some.sampling_rate_in_hz, some.table)
    planted = Records(some.waveforms + 0.3 * (other.waveforms - some.waveforms), some.sampling_rate_in_hz, some.table)
    assert averaging.changed("a", "b", some, some)["value"] == 0
    whole, part = (averaging.changed("a", "b", some, each) for each in (other, planted))
    assert part["value"] == pytest.approx(0.09 * whole["value"], rel=1e-3) and whole["value"] > 0.5
    assert part["low"] <= part["value"] <= part["high"] and part["n"] == 30


def test_a_network_s_mixes_are_held_against_plain_averages_of_the_same_recordings(study, smoke_findings):
    ours, plain = (study.generated(name) for name in ("timesnet", "control_average"))
    assert ours.table["made_from"].tolist() == plain.table["made_from"].tolist()
    found = one(smoke_findings, subject="timesnet", against="control_average", measure="waveform")
    assert found["value"] == averaging.changed("timesnet", "control_average", plain, ours)["value"] > 0


def test_the_sweep_meets_the_theory_for_every_k(truth):
    rows = averaging.averaging(truth, "control_average")
    sets = [f"k = {k}" for k in averaging.KS]
    loss = select(rows, subject="control_average", statistic="loss", against="").set_index("set")["value"]
    theory = select(rows, subject="theory").set_index("set")["value"]
    assert (abs(loss[sets] - theory[sets]) < 0.02).all()
    assert theory["k = 5"] == theory["without replacement"] == pytest.approx(-0.805, abs=1e-3)
    longer = select(rows, against="training", measure="d5_95").set_index("set")
    assert list(longer.index) == sets
    assert longer.loc["k = 10", "low"] > longer.loc["k = 1", "high"]
    assert abs(longer.loc["k = 1", "value"]) < 0.05
    score = select(rows, against="held_out", measure="score")
    assert (score["low"] <= score["value"]).all() and score["value"].min() > 0.5
    assert one(rows, against="k = 1", measure="d5_95")["low"] > 0
    farthest = one(rows, against="k = 1", measure="score")["value"]
    assert farthest == pytest.approx((score["value"] - score["value"].iloc[0]).abs().max())


# ---- power ----


def test_copies_of_recordings_pass_where_plain_averages_fail(truth):
    copies, averages = (
        select(bias.bias(truth, name), against="fresh", statistic="median").set_index("measure")
        for name in ("control_bootstrap", "control_average")
    )
    for measure in ("pga", "rms", "d5_95"):
        for rows, expected in ((copies, HOLDS), (averages, FAILS)):
            assert verdict(*rows.loc[measure, ["low", "high"]], (-0.1, 0.1)) == expected, rows.loc[measure]
    assert averages.loc["d5_95", "value"] > 0.2 > -0.2 > averages.loc["pga", "value"]
    assert (copies.loc["pga", ["n", "n_against"]] == 400).all()


def test_copying_flags_the_stack_and_not_the_truth(truth):
    stack, fresh = (copying.copying(truth, name) for name in ("control_average", "fresh-single"))
    assert one(stack, measure="r2", statistic="level")["value"] > 0.99
    assert one(stack, measure="active_records", statistic="level")["value"] == 5
    low = select(stack, against="held_out").set_index("measure")["low"]
    assert low["r2"] > 0.5 and low["largest_correlation"] > 0.1
    same = select(fresh, subject="fresh", against="held_out").set_index("measure")["value"]
    assert abs(same["r2"]) < 0.03 and abs(same["active_records"]) <= 1


def test_the_wrong_station_is_farther_than_the_right_one_at_every_station(truth):
    wrong = generate.other_station(truth.generated("control_bootstrap"))
    right = select(findings.table(scores._own_station(truth, "control_bootstrap")), statistic="own less others")
    other = select(findings.table(scores._own_station(truth, wrong)), statistic="own less others")
    assert right["station"].tolist() == other["station"].tolist() == truth.stations
    assert (right["low"] > 0).all() and (other["high"] < 0).all()


def test_the_farthest_station_s_f0_is_the_truth_s_or_is_not(truth):
    """Recordings drawn again pass the claim's rule; shifted by a fifth at one station they do not."""
    name = "median, farthest station, beyond truth's"
    assert one(scores._own_station(truth, "control_bootstrap"), statistic=name)["high"] < 0
    fake = truth.f0_sample("control_bootstrap")
    shifted = replace(fake, values=np.where(fake.station == truth.stations[1], 1.3 * fake.values, fake.values))
    with pytest.MonkeyPatch.context() as patch:
        f0_sample = truth.f0_sample
        patch.setattr(truth, "f0_sample", lambda of: shifted if of == "shifted" else f0_sample(of), raising=False)
        assert one(scores._own_station(truth, "shifted"), statistic=name)["high"] > 0.05


def test_station_names_shuffled_score_at_chance_and_the_true_ones_do_not(truth):
    shuffled = one(scores._shuffled(truth), subject="control_bootstrap")
    assert shuffled["low"] < 0 < shuffled["high"] and shuffled["set"] == "station names shuffled"
    found = scores.scores(truth, "control_bootstrap")
    held_out = select(found, protocol="held_out").set_index("statistic")
    assert held_out.loc["S × S less chance", "low"] > 0.2  # of two stations chance alone reaches far
    assert abs(held_out.loc["S × S, chance", "value"]) < 0.3


def test_a_gap_of_one_with_itself_is_none_and_with_the_wrong_station_large(truth):
    real, fake = truth.f0_sample("held_out"), truth.f0_sample("control_bootstrap")
    other = truth.f0_sample(generate.other_station(truth.generated("control_bootstrap")))
    weights = findings.event_weights(real, fake, n_draws=100, seed=0)
    drawn = [scores._drawn_scores(truth, real, side, weights) for side in (fake, fake, other)]
    assert (drawn[0] == drawn[1]).all()
    assert interval(drawn[0] - drawn[2], centred=True).low > 0.5


LAWS = {  # median f0 in Hz and ln scatter by station
    "as published": ((2.6, 6.4, 5.1, 12.8, 1.8), (0.15, 0.12, 0.1, 0.05, 0.05)),
    "well apart": ((2.6, 6.4, 12.8), (0.05,) * 3),
}


def planted_law(f0_in_hz, ln_scatter, n_held_out=18):
    """What ``scores.improper`` asks of a Study: 400 values of f0 a station of a lognormal law, and counts."""
    ends = np.random.default_rng(0).standard_normal(400)
    f0 = {
        f"S{i}": f * np.exp(s * (ends - ends.mean())) for i, (f, s) in enumerate(zip(f0_in_hz, ln_scatter, strict=True))
    }
    asked = {"f0": lambda _: f0, "stage": lambda *_: None, "seed": 0}
    asked |= {"held_out": SimpleNamespace(table=pd.DataFrame({"station": list(f0) * n_held_out}))}
    asked |= {"settings": replace(SMOKE, n_generated=100, n_halves=100)}
    return SimpleNamespace(keep_findings=lambda name, build, inputs: findings.table(build()), **asked)


def test_half_the_scatter_is_taken_for_better_by_the_paper_s_score_and_not_by_the_energy_distance():
    """Where stations are well apart, nothing is to be gained by it: the claim on the score can fail."""
    shares = {}
    for name, law in LAWS.items():
        rows = scores.improper(planted_law(*law))
        shares[name] = select(rows, set="").set_index("measure")
        distance = select(rows, measure="f0", statistic="energy distance").set_index("set")["value"]
        assert distance.idxmin() == "scatter × 1" and distance["scatter × 0.5"] > 0.05 > abs(distance["scatter × 1"])
        assert shares[name].loc["f0", "high"] < 0.5 and (shares[name]["n"] == 100).all()
    assert shares["as published"].loc["score", "low"] > 0.5 > shares["well apart"].loc["score", "high"]


def test_recordings_score_below_one_and_above_halves_of_chance(truth):
    rows = scores.recordings(truth)
    judged = one(rows, subject="training", against="held_out", measure="score")
    assert 0.5 < judged["low"] < judged["value"] < 1 and judged["n"] == 400
    halves = select(rows, statistic="S × S, halves")
    assert halves["protocol"].tolist() == ["in_sample", "held_out"] and (halves["low"] <= halves["value"]).all()


def test_fresh_truth_is_new_and_at_the_scenarios_asked_for(truth):
    single, mixed = (truth.fresh(kind).table for kind in ("single", "mixed"))
    assert set(single["magnitude"]) <= set(truth.training.table["magnitude"])
    assert mixed["magnitude"].std() < 0.7 * single["magnitude"].std()  # means of five
    assert len(single) == len(mixed) == 400
    assert not set(single["event"]) & set(truth.records.table["event"])
    assert bias.references(truth, "control_bootstrap")["fresh"] == "fresh-single"
    assert bias.references(truth, "control_average")["fresh"] == "fresh-mixed"


# ---- it runs ----


def test_at_smoke_every_generator_gets_every_measure(study, smoke_findings):
    by = {
        "score": {"statistic": ("S × S", "S × S, chance", "S × S less chance"), "n": 6},
        "pga": {"statistic": ("median", "spread"), "protocol": "", "n": 4},
        "psa": {"statistic": "median, farthest, beyond truth's", "protocol": "", "n": 2},
        "correlation of periods": {"n": 2},
        "similarity": {"statistic": "own less others", "n": 5},
        "r2": {"statistic": "median", "n": 1},
    }
    for name in study.judged:
        for measure, wanted in by.items():
            which = {"set": ""} | {key: value for key, value in wanted.items() if key != "n"}
            rows = select(smoke_findings, subject=name, measure=measure, **which)
            rows = rows[rows["against"].isin(["training", "held_out", "fresh"])]
            assert len(rows) == wanted["n"], (name, measure, len(rows))
    score = select(smoke_findings, measure="score", statistic="S × S")
    score = score[score["low"].notna()]
    assert len(score) > 20 and (score["low"] <= score["value"]).all() and (score["value"] <= score["high"]).all()


def test_tables_show_every_generator(study, smoke_findings):
    names = [roles.label(name) for name in study.judged]
    scored = scores.score_table(study)
    assert set(names) < set(scored.index) and (scored.loc[names, "S × S, held-out"] != "").all()
    told = bias.bias_table(study, study.judged)
    assert list(told.columns) == names and told.loc[("PGA", "bias")].str.contains(r" [=≠?]$").all()
    stations = scores.station_table(study)
    assert list(stations.index) == study.stations and stations["planted f0 (Hz)"].tolist() == [2.6, 6.4, 5.1, 12.8, 1.8]
    assert stations["records"].sum() == len(study.targets)


def test_another_station_scores_below_the_right_one(smoke_findings):
    right, wrong = (
        one(smoke_findings, subject=name, statistic="S × S", protocol="held_out", measure="score", set="")["value"]
        for name in ("control_bootstrap", "control_other")
    )
    assert wrong < right - 0.3


def test_it_is_built_once(study, smoke_findings, monkeypatch):
    forbid(monkeypatch)
    with few_draws():
        found = evidence.everything(Study("smoke", folder=study.folder))
    pd.testing.assert_frame_equal(found, smoke_findings)


@pytest.mark.parametrize("stations", ["TK.0000,TK.0001", "TK.0000"])
def test_recorded_stations_degrade_gracefully(stations, tmp_path):
    run = Study("smoke", recorded(tmp_path / "set"), stations=stations, folder=tmp_path / "run")
    with few_draws():
        rows = evidence.everything(run)
    several = "," in stations
    assert "fresh" not in set(rows["against"]) | set(rows["subject"])
    assert "correlation of periods" not in set(rows["measure"])  # no distances there, so that CGM-GM is left out:
    assert set(select(rows, measure="structural response")["subject"]) == {"timesnet", "cvae"}
    for name in ("control_average", "control_phase", "timesnet"):
        pga = one(rows, subject=name, measure="pga", statistic="median")
        assert pga["against"] == "held_out" and pga["low"] < pga["high"]
        periods = select(rows, subject=name, measure="psa", statistic="median")["period_in_s"]
        assert len(periods) and (periods > 1 / 12).all()
        assert bool(len(select(rows, subject=name, measure="similarity", statistic="own less others"))) == several
    assert bool(len(select(rows, measure="score"))) == several
    with few_draws():
        told = bias.bias_table(run, ["control_average"])
    assert not told.iloc[:, 0].str.contains("[=≠?]").any()  # no verdict without fresh truth


class F0:
    """What scores._own_station asks of a study: recordings and generated records of five stations, by name."""

    seed, settings, stations = 0, SMOKE, [f"SIM.{i:02}" for i in range(5)]

    def __init__(self, seed, shift=0.0):
        self.rng = np.random.default_rng(seed)
        training, held_out = self.drawn("t", 42), self.drawn("h", 18)
        both = [np.concatenate(pair) for pair in zip(vars(training).values(), vars(held_out).values(), strict=True)]
        fake = self.drawn("g", 100)
        fake.values[fake.station == self.stations[2]] *= np.exp(shift)
        self.samples = {"held_out": held_out, "targets": findings.Sample(*both), "generated": fake}

    def drawn(self, name, n):
        medians = np.repeat([2.6, 6.4, 5.1, 12.8, 1.8], n)
        values = medians * np.exp(0.15 * self.rng.standard_normal(5 * n))
        event = np.array([f"{name}{i}" for i in range(5 * n)], object)
        return findings.Sample(values, event, np.repeat(self.stations, n).astype(object))

    def f0_sample(self, name):
        return self.samples[name]

    def verdict(self):
        name = "median, farthest station, beyond truth's"
        row = one(scores._own_station(self, "generated"), statistic=name)
        return verdict(row["low"], row["high"], (-np.inf, 0.0))


def test_truth_passes_against_truth_over_the_stations_and_a_planted_shift_does_not(monkeypatch):
    monkeypatch.setattr(findings, "N_DRAWS", 100)
    said = [F0(seed).verdict() for seed in range(100)]
    assert said.count(HOLDS) >= 90 and FAILS not in said, said.count(HOLDS)
    shifted = [F0(seed, 0.3).verdict() for seed in range(20)]
    assert HOLDS not in shifted and FAILS in shifted, shifted
