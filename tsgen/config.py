"""Settings of the study, each value here and nowhere else: frozen dataclasses, and the profiles smoke, quick, paper."""

from dataclasses import dataclass, replace

REGIONS = ("active", "stable")  # by their crust: simulate.region
# what makes simulated motion rough, each a function or a factor of the package simulate
INGREDIENTS = ("stress", "magnitude error", "mechanism", "directivity", "attenuation", "kappa", "scattering")
INGREDIENTS += ("focusing", "vs30", "layers", "converted", "surface waves")
CGM_FAULTS = ("window", "std", "prior")
KNOWN = {  # field: its values, or the elements of a tuple
    "region": REGIONS, "without": INGREDIENTS, "faults": CGM_FAULTS, "residual": ("learned", "none"),
    "scaling": ("standard", "min_max"), "n_components": (1, 3), "draws": ("lent", "gaussian"),
    "form": ("paper", "unconditioned", "released"), "loss": ("standardised", "raw"),
}  # fmt: skip


class Checked:
    """Settings whose fields take what is KNOWN alone."""

    def __post_init__(self):
        for name in KNOWN.keys() & vars(self).keys():
            value, known = getattr(self, name), KNOWN[name]
            if unknown := set(value if isinstance(value, tuple) else [value]) - set(known):
                raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, not {unknown.pop()!r}")


@dataclass(frozen=True)
class HVSRSettings:
    """Horizontal-to-vertical spectral ratio of an earthquake record (TimesNet-Gen, arXiv 2512.04694)."""

    bandwidth: float = 40.0  # Konno-Ohmachi b: the usual value for site response, and the paper's
    window: str = "konno_ohmachi"  # "gaussian" is what the released code computes, 2.3 times wider
    lowest_in_hz: float = 1.0  # the paper's band; below it short windows hold too few cycles
    highest_in_hz: float = 20.0
    n_frequencies: int = 400  # the published curves have as many
    high_pass_in_hz: float = 0.05  # the paper's corner
    high_pass_order: int = 2  # run forwards and backwards, so that no phase is added
    padding_in_s: float = 60.0  # a side: the filter's transient must die outside the record (Boore 2005)


@dataclass(frozen=True)
class F0Settings:
    """Histogram of f0 and its similarity."""

    n_bins: int = 20  # as published
    lowest_in_hz: float = 1.0
    highest_in_hz: float = 20.0
    floor: float = 1e-10  # added to each bin before the divergence, as published


@dataclass(frozen=True)
class QualitySettings:
    """Rules that mark a readable record as poor; each gives a reason in the ``quality`` column."""

    lowest_peak_in_cm_s2: float = 1.0  # weaker than this is closer to noise than to strong motion
    highest_peak_in_cm_s2: float = 4903.0  # 5 g: above it the gain or the unit is wrong; 4 g is the most measured
    shortest_in_s: float = 10.0  # shorter ones hold no S waves and coda
    clipped_samples: int = 4  # at one extreme value: sound records have one, coarse ones two or three
    clipped_share: float = 0.5  # of the samples within 10 % of the extreme; coarse unclipped records reach 0.48
    dead_in_s: float = 2.0  # a constant value for so long is a dropout: no motion pauses so long between two steps
    spike_ratio: float = 6.0  # of a sample's distance from its neighbours' line to theirs; motion stays below 5
    spike_share: float = 0.2  # of the component's peak: smaller spikes change no measure of the record
    drift_share: float = 0.1  # mean level before the event against the peak; sound raw records reach 0.05
    drift_window_in_s: float = 5.0  # as long as the quiet that the window keeps before P
    duplicate_peak_difference: float = 0.01  # of ln peak: the tapers of two windows change peaks by less
    duplicate_correlation: float = 0.99  # the same motion read twice gives 1; different records stay far below


@dataclass(frozen=True)
class OnsetSettings:
    """How P is found on a vertical component (``onset.p_onset``)."""

    high_pass_in_hz: float = 1.0  # drift and microseisms below would hide a weak P
    quiet_in_s: float = 1.0  # before P at the least: a shorter stretch tells no noise level
    shortest_in_s: float = 0.3  # of motion after an onset
    least_rise: float = 3.0  # of the variance at an onset: noise itself changes by 2
    least_share: float = 0.003  # of the variance after the next onset: what rises to less (25 dB) is no P before an S
    quietest_in_cm_s2: float = 2e-4  # less is the padding of processed records: accelerometers are noisier
    loudest_in_cm_s2: float = 0.5  # noise of sensors on walls reaches 0.3; beyond this and …
    loudest_share: float = 0.02  # … this share of the peak, what stands before an onset is motion, not noise


@dataclass(frozen=True)
class WindowSettings:
    """Cut of a record to the profile's length."""

    before_p_in_s: float = 5.0  # quiet kept before P, so that onset and noise level stay visible
    taper_in_s: float = 0.5  # at both ends, so that the cut itself adds no step
    arias_onset_share: float = 0.05  # where P is neither known nor picked, this share of the Arias intensity stands in
    least_energy_share: float = 0.5  # kept from a picked P; else S lies outside, and the Arias intensity is followed
    onset: OnsetSettings = OnsetSettings()


@dataclass(frozen=True)
class DownloadSettings:
    """Manners towards servers, and what is cut out of continuous recordings."""

    pause_in_s: float = 0.5  # between requests
    timeout_in_s: float = 60.0  # without a byte; data centres can take half a minute to find a record
    waits_in_s: tuple[float, ...] = (2.0, 8.0, 30.0, 120.0)  # before each new attempt at a request that failed
    longest_wait_in_s: float = 900.0  # that a server may ask for; beyond it we end and say when to come back
    failures_in_a_row: int = 3  # records that fail so are the server's trouble, not theirs
    before_p_in_s: float = 60.0  # kept before P: noise for a picker, and room for the response's transient
    coda_in_s: float = 120.0  # kept after S
    p_velocity_in_km_per_s: float = 8.0  # no P arrives earlier within some hundred km
    s_velocity_in_km_per_s: float = 3.0  # hardly any S arrives later


FEWEST_A_STATION = 5  # simulated background records, where they are cut down


@dataclass(frozen=True)
class SimulationSettings(Checked):
    """The simulated network: how many records; the physics lives with its reasons in ``simulate``."""

    sampling_rate_in_hz: float
    n_samples: int
    n_background_stations: int
    n_background_records: int  # a station
    n_target_records: tuple[int, ...]  # one number a target station
    target_f0_in_hz: tuple[float, ...] = (2.6, 6.4, 5.1, 12.8, 1.8)  # published: 0205, 1716, 2020, 3130, 4628
    f0_ln_scatter: tuple[float, ...] = (0.15, 0.12, 0.10, 0.05, 0.05)  # event to event, in the published order
    f0_ln_scatter_between_horizontals: float = 0.03
    impedance_contrast: float = 7.0  # f0 as hard to tell apart as published; at 6 more picks miss the peak
    damping: float = 0.02
    vp_over_vs: float = 2.2  # puts the vertical resonance at 2.2 f0
    background_f0_in_hz: tuple[float, float] = (1.2, 15.0)  # log-uniform: the band in which f0 is sought
    background_f0_ln_scatter: float = 0.08
    background_contrast: tuple[float, float] = (3.0, 8.0)  # uniform: from weak to sharp peaks
    region: str = "active"  # source, path and kappa; "stable" is a continent's interior
    without: tuple[str, ...] = ()  # INGREDIENTS switched off, to measure what each does

    def __post_init__(self):
        super().__post_init__()
        if not len(self.n_target_records) == len(self.target_f0_in_hz) == len(self.f0_ln_scatter):
            raise ValueError("n_target_records, target_f0_in_hz and f0_ln_scatter need one value a target station each")


@dataclass(frozen=True)
class TimesNetSettings:
    """TimesNet-Gen; field names follow the paper."""

    n_samples: int  # T, the length of the learned position table
    d_model: int
    d_ff: int
    n_kernels: int
    n_blocks: int
    top_k: int = 2
    n_stations: int = 0  # 0 is the released, unconditioned form; Study sets it to the number of targets
    dropout: float = 0.1


class OwnRecipe:
    def recipe(self, training):
        """The TrainingSettings ``training`` with the batch size, epochs and learning rates of this model's own."""
        own = {name: getattr(self, name) for name in ("batch_size", "keeps_background") if hasattr(self, name)}
        for i, (epochs, rate) in enumerate(zip(self.epochs, self.learning_rates, strict=True)):
            own |= {f"epochs_phase_{i}": epochs, f"learning_rate_phase_{i}": rate}
        return replace(training, **own)


@dataclass(frozen=True)
class CVAESettings(OwnRecipe):
    """The spectrogram conditional VAE baseline: a reconstruction, no sizes were published (notebook 04: the trials)."""

    n_samples: int
    n_fft: int = 256  # 5 s at 50 Hz: 128 blurs f0 (ln HVSR error +0.06), 512 doubles the durations (D5-95)
    hop: int = 128  # half the window: as good as a quarter at half the cost
    latent: int = 64  # 128 gains nothing that exceeds the spread over seeds; paper has 256
    channels: tuple[int, ...] = (32, 64, 128)
    n_stations: int = 0  # Study sets it to the number of targets
    station_embedding: int = 16
    beta: float = 0.005  # final weight of the divergence, a mean over dimensions; 0.05 loses single records' f0
    warm_up_share: float = 0.6  # of phase 0: 30 of 50 epochs at paper
    phase_weight: float = 0.1  # of the phase error; 0.02 to 0.5 make no difference
    amplitude_floor: float = 1e-3  # of white noise of the record's std: below it lies the quiet before P
    batch_size: int = 8
    epochs: tuple[int, int] = (48, 32)  # half of them ranks lower in the trials
    learning_rates: tuple[float, float] = (1e-3, 1e-3)


@dataclass(frozen=True)
class CGMSettings(OwnRecipe, Checked):
    """CGM-GM: scenario-conditioned sequential VAE on log spectrograms; ``cgm.published`` gives the published form."""

    n_samples: int
    sampling_rate_in_hz: float
    n_fft: int = 160  # published; 3.2 s at 50 Hz. With 1.3 s, noise carrier, PSA at 3 s is +0.3 to +1.5 ln off
    hop: int = 46
    n_components: int = 3  # 1 is published; three make an HVSR
    conditions: tuple[str, ...] = ("magnitude", "ln_distance", "depth_in_km", "ln_vs30")
    n_stations: int = 0  # size of the station embedding; Study sets it to the number of targets
    latent: int = 32  # z, a frame
    record_latent: int = 8  # the same for all frames: source strength, shift of f0; 0 is published
    linear: bool = True  # a linear path beside the condition MLP: scaling is nearly linear in magnitude and ln distance
    corrected: bool = True  # for the power that drawing, decoding and inverting add, as found on training records
    hidden: int = 32  # h: condition MLP and prior
    condition: int = 16  # c
    posterior_hidden: int = 128  # c is added
    head_hidden: int = 64
    decoder_hidden: int = 128
    clock: int = 5  # octaves of sines of the frame's time, so that arrivals are sharp; 0 is published
    residual: str = "learned"  # spread of ln amplitude a bin and component; "none" is published (squared error)
    # of Griffin-Lim, started from the noise's phase; 500 from a random one is published. The shaped noise itself (0)
    iterations: int = 32  # blurs a second time: up to +0.3 ln in PSA at 3 s
    scaling: str = "standard"  # a bin and component; "min_max", one for all, is published
    faults: tuple[str, ...] = ()  # of the public code, to measure each: "window", "std", "prior"
    beta: float = 3.5  # of the frames' divergence: overlapping windows hold each value 3.5 times; published 0.2
    record_beta: float = 3.5  # of the record's, for the same reason
    spectral_weight: float = 0.0  # of the objectives beside the bound, each an ablation
    envelope_weight: float = 0.0
    duration_weight: float = 0.0
    batch_size: int = 8  # steps count for more than their size: loss -0.41 at 8, -0.08 at 32 after 15 epochs
    epochs: tuple[int, int] = (30, 40)  # of phase 0 and phase 1; 20 at 1e-3 leave the stations' levels 0.2 off
    learning_rates: tuple[float, float] = (6e-3, 3e-3)
    keeps_background: bool = False  # in phase 1: fewer periods without bias, no trend mended (notebook 08: trials)


@dataclass(frozen=True)
class EvolveSettings(Checked):
    """Our generator, ``evolve``; chosen on background stations of a network that nothing else uses (notebook 10)."""

    conditions: tuple[str, ...] = ("magnitude", "ln_distance", "ln_vs30")  # Vs30 helps where no record tells the site
    stretched_by: float = 0.3  # standard deviation of ln of what a lender's times are stretched by: a brief shape blurs
    blended_between: float = 0.7  # share of B averaged over shifts in frequency: a site's peak may stand anywhere
    blended_within: float = 0.5  # of W, for the same reason: it weighs the records, and draws nothing but "gaussian"
    calibrated: bool = False  # for what lending and carrying add in the mean: gains nothing where times are kept
    draws: str = "lent"  # of a record's own term; "gaussian", by W, is about as near


@dataclass(frozen=True)
class TrainingSettings(Checked):
    """One recipe for all models; phase 0 is the background, phase 1 the fine-tuning."""

    batch_size: int
    epochs_phase_0: int
    epochs_phase_1: int
    learning_rate_phase_0: float
    learning_rate_phase_1: float
    weight_decay: float = 1e-4  # AdamW, as released
    gradient_clip: float = 1.0  # as released
    form: str = "paper"  # station one-hot, phase 1 on the targets; "unconditioned": the same without a one-hot;
    # "released": no one-hot, phase 1 on the background
    loss: str = "standardised"  # error over each record's std; "raw" is released and lets the strongest records rule
    keeps_background: bool = False  # phase 1 on the background and the targets: what all stations share is kept
    validation_share: float = 0.2  # of the background: its loss is recorded, nothing is fitted to it (as released)
    seed: int = 0


@dataclass(frozen=True)
class Profile:
    """Everything that a run needs to know, under one name."""

    name: str
    sampling_rate_in_hz: float
    n_samples: int
    n_generated: int  # records a station
    timesnet: TimesNetSettings
    cvae: CVAESettings
    cgm: CGMSettings
    training: TrainingSettings
    simulation: SimulationSettings
    evolve: EvolveSettings = EvolveSettings()
    hvsr: HVSRSettings = HVSRSettings()
    f0: F0Settings = F0Settings()
    quality: QualitySettings = QualitySettings()
    window: WindowSettings = WindowSettings()
    mixed_records: int = 5  # k of the paper
    held_out_share: float = 0.3
    n_halves: int = 200  # random halves behind a ceiling, permutations behind a chance level
    n_fresh: int = 400  # records of fresh truth a station: held-out ones are too few to judge bias by
    fewest_background: int = 200  # below it the simulated background serves phase 0
    most_background: int = 0  # records of it that are used, spread over all; 0: every one

    @property
    def duration_in_s(self):
        return self.n_samples / self.sampling_rate_in_hz


def _profile(name, rate, n, sizes, training, background, targets, n_generated, cvae=None, cgm=None, **rest):
    models = TimesNetSettings(n, *sizes), CVAESettings(n, **cvae or {}), CGMSettings(n, rate, **cgm or {})
    simulation = SimulationSettings(rate, n, *background, targets)
    return Profile(name, rate, n, n_generated, *models, training, simulation, **rest)


PROFILES = {
    # for tests and CI: every line of code runs, no number means anything
    "smoke": _profile(
        *("smoke", 50.0, 1024, (8, 16, 3, 1, 2), TrainingSettings(8, 1, 1, 3e-3, 1e-3), (6, 8), (12,) * 5, 12),
        cvae={"channels": (8, 16), "latent": 16, "epochs": (1, 1)},
        **{"cgm": {"epochs": (1, 1), "iterations": 4}, "n_halves": 20, "n_fresh": 48},
    ),
    # for reading and teaching; batch and rate measured: the published 32 and 3e-4 stay far from converged in this time
    "quick": _profile(
        "quick", 50.0, 2048, (16, 32, 4, 2, 2), TrainingSettings(8, 12, 8, 3e-3, 1e-3), (40, 15), (60,) * 5, 100
    ),
    # the paper's rate, length and code path at smoke's sizes, so that nothing is met for the first time on a GPU
    "rehearsal": _profile(
        *("rehearsal", 100.0, 6000, (8, 16, 3, 1, 2), TrainingSettings(8, 1, 1, 3e-4, 1e-4), (6, 8), (12,) * 5, 12),
        cvae={"channels": (8, 16), "latent": 16, "n_fft": 512, "hop": 256, "epochs": (1, 1)},
        **{"cgm": {"n_fft": 320, "hop": 92, "epochs": (1, 1), "iterations": 4}, "n_halves": 20, "n_fresh": 48},
    ),
    # the published setting; windows as long in seconds as at 50 Hz
    "paper": _profile(
        *("paper", 100.0, 6000, (128, 256, 6, 2, 2)),
        *(TrainingSettings(32, 50, 10, 3e-4, 1e-4), (400, 75), (71, 80, 46, 72, 56), 250),
        cvae={"latent": 256, "n_fft": 512, "hop": 256, "batch_size": 32, "epochs": (50, 10)},
        cgm={"n_fft": 320, "hop": 92, "batch_size": 32, "learning_rates": (3e-3, 1e-3)},
    ),
}


def changed(settings, part, fields):
    """A Profile whose settings of one part have other values in ``fields``."""
    return replace(settings, **{part: replace(getattr(settings, part), **fields)})


def profile(name):
    """Settings of a profile, or with at most N background records of "NAME-N"; ValueError for an unknown name."""
    if name in PROFILES:
        return PROFILES[name]
    base, _, n = name.rpartition("-")
    if base not in PROFILES or not n.isdecimal() or int(n) < 1:
        raise ValueError(f"unknown profile {name!r}; known: {', '.join(PROFILES)}")
    s, n = PROFILES[base].simulation, int(n)  # simulated: of as many stations as can have FEWEST_A_STATION records
    each = min(s.n_background_records, max(FEWEST_A_STATION, -(-n // s.n_background_stations)))
    simulation = replace(s, n_background_stations=max(1, n // each), n_background_records=min(each, n))
    return replace(PROFILES[base], name=f"{base}-{n}", simulation=simulation, most_background=n)
