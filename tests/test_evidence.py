"""The evidence: planted amplitudes and stacks are found, controls fail and pass as they must, recordings work too."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from test_study import recorded

from tsgen import config, controls, evidence, experiments, generate, measured, mixing, simulate, splits, tables
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
    )
    profile = replace(SMOKE, simulation=simulation, n_generated=200, n_fresh=400, n_halves=60)
    return Study(profile, folder=tmp_path_factory.mktemp("truth"))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study("smoke", folder=tmp_path_factory.mktemp("smoke"))


def some_records(n=6, **columns):
    return simulate.fresh(SMOKE.simulation, ["SIM.01"] * n, 5.0, 40.0).with_columns(**columns)


# ---- what is measured ----


def test_twice_the_motion_adds_ln_2_to_every_amplitude_and_nothing_to_the_rest():
    records = some_records()
    twice = Records(2 * records.waveforms, records.sampling_rate_in_hz, records.table)
    step = measured.measures(twice) - measured.measures(records)
    same = ["d5_75", "d5_95", *measured.SANITY]
    np.testing.assert_allclose(step[same], 0, atol=1e-5)
    np.testing.assert_allclose(step["arias"], np.log(4), atol=1e-5)
    rest = step.drop(columns=[*same, "arias"])
    shown = rest.columns[rest.notna().all()]
    assert len(shown) >= 20 + 3 * 10 + 4
    np.testing.assert_allclose(rest[shown], np.log(2), atol=1e-5)


def test_measures_outside_the_usable_band_are_missing():
    found = measured.measures(some_records(usable_to_hz=12.0))
    short = measured.PERIODS_IN_S < 1 / 12
    assert found[np.array(measured.SPECTRAL)[short]].isna().all(axis=None)
    assert found[np.array(measured.SPECTRAL)[~short]].notna().all(axis=None)
    assert found["fourier_e_16.00"].isna().all() and found["fourier_e_0.50"].notna().all()


def test_sanity_sees_a_planted_offset_noise_before_p_and_the_lead_of_p():
    rate, n = 50.0, 1024
    time = np.arange(n) / rate
    burst = np.exp(-(((time[None] - np.array([[10.0], [7.0]])) / 0.5) ** 2)) * np.sin(40 * time)  # S, P
    wave = np.stack([burst[0], burst[0], burst[1]])[None].astype(np.float32)
    clean = Records(wave, rate, some_records(1).table.assign(samples=n))
    offset, noisy = (Records(wave + more, rate, clean.table) for more in (0.05, 0.3 * np.sign(np.sin(3 * time))))
    drift, quiet, lead = (
        np.concatenate(each) for each in zip(*map(measured.sanity, (clean, offset, noisy)), strict=True)
    )
    assert drift[1] > 0.9 > drift[0] + 0.2
    assert quiet[0] < 1e-3 and 0.1 < quiet[2] < 0.5
    assert lead[0] == pytest.approx(3.0, abs=0.1)


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
    found = mixing.losses(generate.PlainAverage(), noise(), 5)
    row, energy = found[form], found["energy"]
    assert row["low"] <= row["theory"] <= row["high"] and row["high"] - row["low"] < 0.05
    assert abs(energy["value"]) < 0.02 and energy["theory"] == 0
    expected = {
        "without replacement": -0.805,
        "with replacement": 0.5 * np.log(1 / 5 + 4 / (5 * 24)),
        "dirichlet": -0.549,
    }
    assert row["theory"] == pytest.approx(expected[form], abs=1e-3)


def test_the_predicted_loss_is_that_of_mixes_that_are_made():
    records = noise(n=8, shared=0.3)
    found = mixing.covariances(generate.PlainAverage(), records)
    for k in (2, 5, 8):
        model = generate.PlainAverage()
        z = model.encode_records(records)[0]
        chosen = generate.weight_matrix(np.random.default_rng(k), 4000, 8, k)
        mixed = torch.einsum("nm,mtc->ntc", torch.from_numpy(chosen).float()[:200], z)
        measured_loss = 0.5 * np.log(mixed.var(1, correction=0).mean().item())
        assert mixing.ln_loss(found, 1 / k).value == pytest.approx(measured_loss, abs=0.02)
        assert measured_loss > 0.5 * np.log(1 / k) + 0.05  # coherent records lose less, and it is seen


def test_sweep_rows_meet_the_theory_for_every_k(truth):
    rows = controls.sweep(truth, generate.PlainAverage())
    assert list(rows.index) == list(range(1, 11))
    assert (abs(rows["ln_loss"] - rows["theory"]) < 0.02).all()
    assert rows.loc[10, "ln_d5_95_low"] > rows.loc[1, "ln_d5_95_high"]
    assert abs(rows.loc[1, "ln_d5_95"]) < 0.05
    assert (rows["score_low"] <= rows["score"]).all() and rows["score"].min() > 0.5


# ---- power ----


def test_copies_of_recordings_pass_where_plain_averages_fail(truth):
    copies, averages = (truth.evidence(name)["fresh"] for name in ("control_bootstrap", "control_average"))
    for measure in ("pga", "rms", "d5_95"):
        assert copies.loc[measure, "median_verdict"] == "equivalent", copies.loc[measure]
        assert averages.loc[measure, "median_verdict"] == "different", averages.loc[measure]
    assert averages.loc["d5_95", "median"] > 0.2 > -0.2 > averages.loc["pga", "median"]
    assert (copies["n_reference"] == 400).all() and (copies["n"] == 400).all()


def test_memorisation_flags_the_stack_and_not_the_truth(truth):
    stack, fresh = (truth.evidence(name)["memorisation"] for name in ("control_average", evidence.TRUTH))
    assert stack.loc["r2", "generated"] > 0.99 and stack.loc["active_records", "generated"] == 5
    assert stack.loc["r2", "low"] > 0.5 and stack.loc["largest_correlation", "low"] > 0.1
    assert abs(fresh.loc["r2", "difference"]) < 0.03 and abs(fresh.loc["active_records", "difference"]) <= 1


def test_the_wrong_station_is_farther_than_the_right_one_at_every_station(truth):
    right = truth.generated("control_bootstrap")
    assert (controls.own_station(truth, right)["low"] > 0).all()
    assert (controls.own_station(truth, generate.other_station(right))["high"] < 0).all()


def test_a_shuffled_table_scores_at_chance_and_the_true_one_does_not(truth):
    found = controls.shuffled(truth)
    assert found["low"] < 0 < found["high"] and found["n"] == truth.settings.n_halves
    real, fake = truth.f0(truth.held_out), truth.f0(truth.generated("control_bootstrap"))
    assert controls._gap(truth, real, (fake, fake)) == 0
    assert tables.evidence.summary(truth.evidence("control_bootstrap"))["stations_told_apart"] == {"value": 2, "n": 2}
    gap = controls.score_gap(truth, real, fake, {s: fake[t] for s, t in zip(fake, reversed(fake), strict=True)})
    assert gap["low"] > 0.5


def test_fresh_truth_is_new_and_at_the_scenarios_asked_for(truth):
    single, mixed = (pd.concat([p.table for p in evidence.fresh(truth, kind)]) for kind in ("single", "mixed"))
    assert set(single["magnitude"]) <= set(truth.training.table["magnitude"])
    assert mixed["magnitude"].std() < 0.7 * single["magnitude"].std()  # means of five
    assert len(single) == len(mixed) == 400
    assert not set(single["event"]) & set(truth.records.table["event"])


def test_a_generator_without_scenarios_takes_those_of_the_recording_that_scaled_it(truth):
    training = truth.training.table
    one = training.iloc[3]
    table = pd.DataFrame(
        {"station": [one["station"]] * 2, "event": ["a", "b"], "made_from": [one["event"], f"{one['event']};other"]}
    )
    found = evidence.with_scenarios(truth, table)
    assert found["magnitude"][0] == one["magnitude"] and found["distance_in_km"][0] == one["distance_in_km"]
    assert found[["magnitude", "distance_in_km"]].iloc[1].isna().all()


def test_without_magnitudes_values_are_compared_as_they_are(truth):
    frame = evidence.measured_frame(truth, "held_out")
    unknown = frame.assign(magnitude=np.nan)
    left, same = evidence.given_magnitude_and_distance(frame, frame, unknown)
    pd.testing.assert_frame_equal(left, frame[list(measured.COLUMNS)])
    pd.testing.assert_frame_equal(same, left)
    residuals = evidence.given_magnitude_and_distance(frame, frame)[0]
    assert residuals["pga"].std() < 0.7 * frame["pga"].std()


# ---- it runs ----


def test_at_smoke_every_generator_gets_every_measure(study):
    table = tables.everything(study)
    names = [tables.LABELS[name] for name in evidence.generators(study)]
    assert [tables.CEILING, *names, "chance, or bound"] == list(table.columns)
    assert (table[names].loc[["PGA, bias", "D5-95, bias", "score, held-out"]] != "").all(axis=None)
    study.negative_controls()
    kept = json.loads((study.folder / "results.json").read_text())
    entry = kept["evidence"]["timesnet"]["pga_median"]
    assert entry["low"] <= entry["value"] <= entry["high"] and entry["verdict"]
    assert set(kept["averaging"]) == {"sweep", "forms"} and set(kept["negative_controls"]) == {"shuffled", "gaps"}
    assert "PGA" in tables.found(study)


def test_it_is_built_once(study, monkeypatch):
    first = study.evidence("control_average")["fresh"]

    def forbidden(*_, **__):
        raise AssertionError("evidence that stands was built again")

    monkeypatch.setattr(evidence, "_judge", forbidden)
    monkeypatch.setattr(evidence, "_measure", forbidden)
    pd.testing.assert_frame_equal(study.evidence("control_average")["fresh"], first)


@pytest.mark.parametrize("stations", ["TK.0000,TK.0001", "TK.0000"])
def test_recorded_stations_degrade_gracefully(stations, tmp_path):
    run = Study("smoke", recorded(tmp_path / "set"), stations=stations, folder=tmp_path / "run")
    table = tables.everything(run)
    assert "spectral periods within bounds, bias" not in table.index
    for name in ("control_average", "control_phase"):
        found = run.evidence(name)
        assert "fresh" not in found and "correlation" not in found  # no distances there
        assert "verdict" not in evidence.summary(found)["pga_median"]
        short = np.array(measured.SPECTRAL)[measured.PERIODS_IN_S < 1 / 12]
        assert found["held_out"].loc[short, "median"].isna().all()
    assert ("own" in run.evidence("control_average")) == ("," in stations)
    assert "What was found" in tables.found(run)


# ---- folds ----


def test_folds_hold_out_every_event_once_and_spread_each_station(tmp_path, study):
    table = study.targets.table
    folds = splits.fold_of(table)
    counts = table.assign(fold=table["event"].map(folds)).groupby(["station", "fold"]).size().unstack(fill_value=0)
    assert counts.shape == (5, 5) and counts.to_numpy().max() - counts.to_numpy().min() <= 3
    held_out, keys = [], set()
    for fold in splits.fold_studies(study, tmp_path):
        seen = set(fold.training.table["event"]) | set(fold.background.table["event"])
        assert not seen & set(fold.held_out.table["event"])
        held_out += list(fold.held_out.table["station"] + fold.held_out.table["event"])
        keys.add(fold.generated_key("timesnet"))
    assert sorted(held_out) == sorted(table["station"] + table["event"])
    assert len(keys) == 5 and study.generated_key("timesnet") not in keys


def test_recorded_needs_records_and_says_whose_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("TSGEN_RUNS", str(tmp_path / "runs"))
    with pytest.raises(ValueError, match="--records"):
        experiments.run("recorded", "smoke", folder=tmp_path / "results")
    assert experiments.attribution("OEEWMX.002, OEEWMX.009") == "OpenEEW, CC BY-SA 4.0"
    assert experiments.attribution("TK.0205") == experiments.attribution(None) == ""
    given = recorded(tmp_path / "set"), "TK.0000,TK.0001"
    path = experiments.run("recorded", "smoke", *given, folder=tmp_path / "results")
    content = json.loads(path.read_text())
    assert path.name == "recorded.json" and content["settings"]["name"] == "smoke"
    assert content["command"].endswith("recorded --profile smoke --records set --stations TK.0000,TK.0001")
    rows = pd.DataFrame(content["rows"]).set_index("generator")
    assert abs(rows.loc["control_average, all recordings", "loss less theory"]) < 0.05  # noise is incoherent
    drawn = sorted(path.name for path in (tmp_path / "figures" / "recorded").iterdir())
    assert drawn == sorted(f"{name}.png" for name in experiments.evidence.RECORDED_FIGURES)
