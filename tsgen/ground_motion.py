"""Ground-motion models of active crust, through pygmm: what recordings elsewhere let one expect."""

import importlib
import warnings

import numpy as np

from tsgen.intensity import G_IN_CM_S2

MODELS = {  # and what pygmm calls them
    "BSSA14": "BooreStewartSeyhanAtkinson2014", "ASK14": "AbrahamsonSilvaKamai2014", "CB14": "CampbellBozorgnia2014",
    "CY14": "ChiouYoungs2014", "ASB14": "AkkarSandikkayaBommer2014",
}  # fmt: skip
MAGNITUDES = (4.5, 7.5)  # where all five hold for strike slip (ASB14's authors: 4 to 8; NGA-West2's: 3 to 8.5)
DISTANCES_IN_KM = (1.0, 200.0)
DEEPEST_TOP_IN_KM = 12.0  # the faults of CB14 end at 15 km: a source below is one at this depth


def pygmm_module(name="pygmm"):
    """A module of pygmm, imported only now: a machine that trains need not have it."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # 0.8.0 leaves its files open
        return importlib.import_module(name)


def prediction(model, magnitude, distance_jb_in_km, vs30_in_m_per_s, periods_in_s, region="global", depth_in_km=8.0):
    """(median (n, p) in cm/s², ln standard deviation (n, p)) of RotD50 (ASB14: geometric mean) at 5 % damping; period 0
    is PGA. model: a key of MODELS, else ValueError; magnitude, distance_jb_in_km (Joyner-Boore), vs30_in_m_per_s and
    depth_in_km broadcast to (n,). Vertical strike-slip fault as small as a point. region: "global", "turkey", … as
    pygmm names them; a model without it (only BSSA14 knows "turkey") takes its own default."""
    if model not in MODELS:
        raise ValueError(f"unknown ground-motion model {model!r}; known: {', '.join(MODELS)}")
    pygmm = pygmm_module()
    law = getattr(pygmm, MODELS[model])
    given = np.broadcast_arrays(*map(np.atleast_1d, (magnitude, distance_jb_in_km, vs30_in_m_per_s, depth_in_km)))
    periods = np.asarray(periods_in_s, float)
    shake, options = periods > 0, {each.name: getattr(each, "options", None) for each in law.PARAMS}
    median, ln_std = np.full((2, len(given[0]), len(periods)), np.nan)
    for i, (size, distance, vs30, depth) in enumerate(np.array(given, float).T.tolist()):
        top = min(depth, DEEPEST_TOP_IN_KM)
        asked = {"mag": size, "dist_jb": distance, "dist_rup": np.hypot(distance, top), "dist_x": distance}
        asked |= {"v_s30": vs30, "mechanism": "SS", "dip": 90.0, "depth_tor": top, "depth_hyp": top}
        if region in (options.get("region") or ()):
            asked["region"] = region
        there = law(pygmm.Scenario(**{name: value for name, value in asked.items() if name in options}))
        median[i, ~shake], ln_std[i, ~shake] = there.pga, there.ln_std_pga
        median[i, shake] = there.interp_spec_accels(periods[shake])
        ln_std[i, shake] = there.interp_ln_stds(periods[shake])
    return G_IN_CM_S2 * median, ln_std


def joyner_boore(distance_in_km, depth_in_km):
    """Joyner-Boore distance in km of a point source from its hypocentral distance."""
    return np.sqrt(np.maximum(0.0, np.square(distance_in_km) - np.square(depth_in_km)))
