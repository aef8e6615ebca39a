"""A station that is new to everyone: what each makes of n of its records, beside what they know of other stations.

Who takes a magnitude and a distance is asked for those of recordings that nothing has seen, others for their station's
motion. Who makes waves is measured as recordings are; the others give the features alone.
"""

import numpy as np
import pandas as pd

from tsgen import carrier, features, generate, station_term
from tsgen.evidence import copying, distances
from tsgen.features import FEATURES, shown
from tsgen.measures import SCENARIO, SPECTRAL
from tsgen.needs import scenario_known
from tsgen.records import Records
from tsgen.station_term import SpectralLaw
from tsgen.study import FITTED, LAWS, SHIFTED

OURS, OTHER, UNSEEN = "evolve", "control_other", "cgm"
MODEL, ERGODIC, IDEAL = "gmm_station", "gmm", "ideal"  # response spectra alone, in closed form
ALL = "all"
NUMBERS = {"simulated": (0, 1, 2, 5, 10, ALL), "recorded": (0, 1, 2, 4)}  # of a station's records
MIXED = {  # take none
    "control_renoised": carrier.renoised,
    "control_average": lambda own, n, seed: generate.mix(generate.PlainAverage(), own, n, seed=seed),
    "control_phase": generate.random_phase,
}
BRIEF = (OURS, UNSEEN, "control_renoised")  # whose waves a run makes
WHOLE = (OURS, *MIXED, *LAWS)  # and the stored experiment
N_ASKED = {"simulated": 2, "recorded": 4}  # realisations of a scenario: two at least; recordings are few
N_DRAWN = 30  # records a station of whoever takes no scenario
N_CLOSED = 30  # draws a scenario in closed form: with ten the energy score of 20 recordings is 0.03 off by chance
MEASURED = ("pga", "d5_95")  # whose bias is told
COLUMNS = tuple(dict.fromkeys((*(name for names in FEATURES.values() for name in names), *MEASURED)))
MEMORY = ("largest_correlation", "r2")


def frame(study, which):
    """DataFrame of one row a record: station, event, SCENARIO and COLUMNS; see ``Study.features``."""
    return study.features(which).join(study.measures(which)[[*SCENARIO[1:], "pga"]])


def read(study, some):
    """DataFrame (n, COLUMNS) of Records."""
    return features.everything(some, study.settings)[list(COLUMNS)]


def numbers(study, choice=0):
    """The n that every target station can give; n of which there is no choice, only in the first."""
    fewest = study.training.table["station"].value_counts().min()
    known = [n for n in NUMBERS[study.kind] if n == ALL or n <= fewest]
    return [n for n in known if not choice or n not in (0, ALL)]


def chosen(study, choice, n):
    """Positions in the training records of n of each station's, by chance; those of a smaller n are among those of a
    larger."""
    station, rng = study.training.table["station"].to_numpy(), np.random.default_rng([study.seed, choice])
    order = [rng.permutation(np.flatnonzero(station == name)) for name in study.stations]
    return np.sort(np.concatenate([own[: None if n == ALL else n] for own in order]))


def scenarios(study, whole):
    """DataFrame of SCENARIO and event of the recordings whose scenarios are asked for: the held-out ones or, where
    folds hold out few at once (whole), all of the targets."""
    some = study.targets if whole else study.held_out
    table = some.take(scenario_known(some)).table
    return table.reindex(columns=[*SCENARIO, "event"]).reset_index(drop=True)


def left_out(study):
    """[stations that are new at once]: recorded ones one by one, since few others have several records."""
    return [[name] for name in study.stations] if study.kind == "recorded" else [study.stations]


def waves(study, choice, names, whole):
    """DataFrame of one row a record that the generators ``names`` make: subject, set ("n = 2"), station, event (whose
    scenario it has; "" without) and COLUMNS; of OURS MEMORY of the n records, and the held-out recordings'. Built once.
    """

    def make():
        parts = []
        for out in left_out(study):
            rest = study.training.take(~study.training.table["station"].isin(out).to_numpy())
            others = Records.concatenate([study.background, rest]) if len(rest) else study.background
            asked = scenarios(study, whole).query("station in @out").reset_index(drop=True)
            held_out = study.held_out.select(station=out)
            for n in numbers(study, choice):
                own, of = study.training.take(chosen(study, choice, n)).select(station=out), {"set": f"n = {n}"}
                for name in (name for name in names if (name in (OURS, UNSEEN) if n == 0 else name != UNSEEN)):
                    made = _made(study, name, others, own, asked, study.seed + 1000 * choice)
                    part = read(study, made).assign(subject=name, station=made.table["station"], **of)
                    part["event"] = "" if name in MIXED else asked["event"].repeat(N_ASKED[study.kind]).to_numpy()
                    if name == OURS and n != 0:
                        part = part.join(copying.memorisation(made, own)[list(MEMORY)])
                        seen = copying.memorisation(held_out, own)[list(MEMORY)].assign(subject="held_out", **of)
                        parts.append(seen.join(held_out.table[["station", "event"]]))
                    parts.append(part)
        return pd.concat(parts, ignore_index=True)

    inputs = distances.inputs_of(study) + ([study.stage("model", UNSEEN)] if UNSEEN in names else [])
    return study.keep_table(
        f"few-{choice}", make, inputs, (names, whole, study.settings.cgm, study.settings.evolve)
    ).fillna({"event": ""})


def _made(study, name, others, own, asked, seed):
    """Records that a generator makes of the stations' ``own`` records and those of ``others``."""
    if name in MIXED:
        return MIXED[name](own, N_DRAWN, seed)
    if name == UNSEEN:  # by Vs30: under this name it knows no station
        asked = asked.assign(station="NEW." + asked["station"]).fillna({"vs30_in_m_per_s": station_term.PLAIN_VS30})
        made = generate.sample(study.model(UNSEEN), scenarios=asked[SCENARIO], n=N_ASKED[study.kind], seed=seed)
        return made.with_columns(station=made.table["station"].str.removeprefix("NEW."))
    served = {"stations": sorted(set(asked["station"])), "law": study.settings.evolve} if name == OURS else {}
    law = FITTED[name](study.settings.cgm, others, own, **served)
    return generate.sample(law, scenarios=asked[SCENARIO], n=N_ASKED[study.kind], seed=seed)


def region(study, out, columns):
    """station_term.SpectralLaw of BSSA14 with the bias and the variances of recordings at other stations than ``out``;
    None where no other has two."""
    others = pd.concat([frame(study, which) for which in ("background", "training")], ignore_index=True)
    others = others[~others["station"].isin(out)].dropna(subset=[*SCENARIO[:3], *columns])
    if not others["station"].duplicated().any():
        return None
    return SpectralLaw.fit(others, columns, station_term.bssa14(columns))


def everyone(study, choice, names, whole, pool=None):
    """``waves``, and what takes no waves: OURS of another station, recordings drawn again, the background's scatter
    about the mean of n records, all training recordings as if generated; and, response spectra alone, BSSA14 with the
    region's bias and variances, with and without the station's term, and the ideal (pool: the frame that it knows)."""
    made, known, asked = waves(study, choice, names, whole), frame(study, "training"), scenarios(study, whole)
    follows = dict(zip(study.stations, study.stations[1:] + study.stations[:1], strict=True))
    ours = made[(made["subject"] == OURS) & (made["set"] != "n = 0")]
    parts = [made] + [known.assign(subject="training", set=f"n = {ALL}")] * (choice == 0)
    parts += [ours.assign(subject=OTHER, station=ours["station"].map(follows))] * (len(follows) > 1)
    rng, columns = np.random.default_rng([study.seed, choice]), spectral(study)
    for out in left_out(study):
        law = region(study, out, columns)
        laws = {} if law is None else {MODEL: law, ERGODIC: law}
        if pool is not None:
            laws[IDEAL] = SpectralLaw.fit(pool, columns, station_term.regressed(pool, columns))
        others = pd.concat([frame(study, "background"), known.query("station not in @out")], ignore_index=True)
        for n in numbers(study, choice):
            own, of = known.iloc[chosen(study, choice, n)].query("station in @out"), {"set": f"n = {n}"}
            if n != 0:
                again = own.groupby("station").sample(N_DRAWN, replace=True, random_state=rng)
                again = again.assign(subject="control_bootstrap", event="", **of)  # a record drawn twice counts twice
                sides = (side[["station", "event", *COLUMNS]] for side in (own, others))
                parts += [again, features.shifted(*sides, out, N_DRAWN, choice).assign(subject=SHIFTED, **of)]
            for station in out:
                rows, mine = asked[asked["station"] == station], own[own["station"] == station]
                named = rows[["station", "event"]].loc[rows.index.repeat(N_CLOSED)].reset_index(drop=True)
                for name, law in laws.items():
                    drawn = law.drawn(mine[:0] if name == ERGODIC else mine, rows, N_CLOSED, rng)
                    parts.append(named.join(drawn).assign(subject=name, **of))
    table = pd.concat(parts, ignore_index=True)
    table["event"] = table["event"].where(table["event"] != "", "drawn " + table.index.astype(str))
    return table


def spectral(study):
    """Columns of ln PSA that the targets' recordings show."""
    recorded = pd.concat([study.features(which) for which in ("training", "held_out")], ignore_index=True)
    return shown(recorded, SPECTRAL, study.stations)
