"""TimesNet-Gen against the plain implementation of plain_timesnet.py: time, memory, and growth. Prints tables.

    python tests/bench_timesnet.py [--quick] [--pairs N] [--threads N] [--tables NAME …]

The two run in turns (plain, ours, plain, ours, …) on the same weights and input, and the median of the pairs' ratios
is printed, so that another load on the machine meets both. --quick takes the quick profile's sizes instead of the
paper's. On CUDA ours trains in bf16 and the plain one in float32, at the recipe's batch.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import plain_timesnet as plain
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tsgen import config, generate, timesnet
from tsgen.records import Records

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
K = 5  # records in a mix
N_GENERATED = 250


def build(settings):
    torch.manual_seed(0)
    return timesnet.TimesNetGen(settings).to(DEVICE).train()


def noise(n, n_samples):
    return torch.randn(n, n_samples, 3, generator=torch.Generator().manual_seed(1)).to(DEVICE)


def periodic(model, n, n_samples, periods_in_samples=(100, 40)):
    """Input whose first block folds at two long periods, the table of positions being turned down for it."""
    t = torch.arange(n_samples)[None, :, None]
    x = sum(torch.sin(2 * torch.pi * t / period) for period in periods_in_samples).expand(n, -1, 3)
    with torch.no_grad():
        model.enc_embedding.position_embedding.mul_(0.01)
    return (x + 0.1 * noise(n, n_samples).cpu()).to(DEVICE)


def timed(function):
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def paired(theirs, ours, n_pairs):
    """Median seconds of each, and the median of the pairs' ratios, after one unmeasured pair."""
    theirs(), ours()
    times = np.array([[timed(theirs), timed(ours)] for _ in range(n_pairs)])
    return (*np.median(times, axis=0), np.median(times[:, 0] / times[:, 1]))


def forward(model, x, ours):
    with torch.no_grad():
        return lambda: model.encode(x, shared=True) if ours else plain.encode(model, x)


def step(model, x, ours, mixed=True):
    """One training step: loss, gradient, AdamW; ours on CUDA in bfloat16 where ``mixed``."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.0)
    settings = config.profile("paper").training
    batch = (x, torch.full((len(x),), -1, device=DEVICE))

    def run():
        with torch.autocast("cuda", torch.bfloat16, enabled=mixed and ours and DEVICE.type == "cuda"):
            loss = model.loss(batch, 0, 0.0, settings) if ours else plain.loss(model, x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return run


def without_gradient(function):
    @torch.no_grad()
    def run():
        function()

    return run


def both(kind, model, x, n_pairs):
    make = {"forward": forward, "training step": step}[kind]
    pair = [make(model, x, ours) for ours in (False, True)]
    if kind == "forward":
        pair = [without_gradient(function) for function in pair]
    return paired(*pair, n_pairs)


def row(*cells):
    print(
        "| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True
    )


def head(*cells):
    print()
    row(*cells)
    row(*("---" for _ in cells))


def layer(settings, batch, n_pairs):
    head("input", "what", "plain, s", "ours, s", "plain / ours")
    for kind in ("forward", "training step"):
        model = build(settings)
        row("noise (random initialisation)", kind, *both(kind, model, noise(batch, settings.n_samples), n_pairs))
        x = periodic(model, batch, settings.n_samples)
        row("periods 100 and 40", kind, *both(kind, model, x, n_pairs))
        kept, timesnet.NEGLIGIBLE = timesnet.NEGLIGIBLE, -1.0
        row("the same, weightless branches too", kind, *both(kind, model, x, n_pairs))
        timesnet.NEGLIGIBLE = kept


def growth(settings, batch, n_pairs):
    head("what", "T", "batch", "d_model", "kernels", "plain, s", "ours, s", "plain / ours")
    t, d, kernels = settings.n_samples, settings.d_model, settings.n_kernels
    sizes = [(t // 4, batch, d, kernels), (t // 2, batch, d, kernels), (t, batch, d, kernels)]
    sizes += [(t // 2, n, d, kernels) for n in (1, 4)] + [(t // 2, batch, d // part, kernels) for part in (4, 2)]
    sizes += [(t // 2, batch, d, n) for n in range(2, kernels, 2)]
    for n_samples, n, width, n_kernels in sizes:
        model = build(replace(settings, n_samples=n_samples, d_model=width, d_ff=2 * width, n_kernels=n_kernels))
        for kind in ("forward", "training step"):
            row(kind, n_samples, n, width, n_kernels, *both(kind, model, noise(n, n_samples), n_pairs))


def generation(settings, n_records, n_pairs):
    """N_GENERATED records from a station: encode it once and mix, against k encodings for every generated record."""
    model = build(settings).eval()
    x = noise(n_records, settings.n_samples)
    rng = np.random.default_rng(0)
    chosen = np.stack([rng.choice(n_records, K, replace=False) for _ in range(N_GENERATED)])
    part = 5  # of the N_GENERATED: the rest is more of the same

    @torch.no_grad()
    def one_by_one():
        for rows in chosen[:part]:
            z, mean, std = model.encode(x[rows])
            model.decode(z.mean(0, keepdim=True), mean.mean(0), std.mean(0))

    @torch.no_grad()
    def once():
        parts = [model.encode(rows) for rows in x.split(K)]
        z, mean, std = (torch.cat(part) for part in zip(*parts, strict=True))
        for rows in chosen:
            model.decode(z[rows].mean(0, keepdim=True), mean[rows].mean(0), std[rows].mean(0))

    slow, fast, _ = paired(one_by_one, once, n_pairs)
    slow *= N_GENERATED / part
    head(f"generation of {N_GENERATED} records from {n_records}", "s")
    row(f"{K} encodings a generated record ({part} measured, scaled)", slow)
    row("each record encoded once", fast)
    row("ratio", slow / fast)


def bank(settings):
    counts = config.profile("paper").simulation.n_target_records
    theirs = sum(counts) * (settings.n_samples * settings.d_model + 6) * 4
    ours = len(counts) * N_GENERATED * K * (4 + 4)
    head("bank of five stations", "bytes")
    row(f"latents of {sum(counts)} records", f"{theirs:,}")
    row(f"which records and weights, {N_GENERATED} a station", f"{ours:,}")


def scale(n_a_station=50):
    """Mixing five records a station at quick's sizes, a station at a time: memory must not grow with their number, but
    for what is generated. 3,100 records are a tenth of the paper's."""
    settings = config.profile("quick").timesnet
    model, length = build(settings).eval(), settings.n_samples
    head("records", "stations", "s a record", "peak beyond the records and what is generated, MB")
    for n in (310, 3100):
        table = pd.DataFrame(
            {"station": [f"B.{i // n_a_station:04d}" for i in range(n)], "event": np.arange(n).astype(str)}
        )
        table = table.assign(kind="simulated", source="noise", samples=length, native_sampling_rate_in_hz=50.0)
        waves = np.random.default_rng(0).standard_normal((n, 3, length), np.float32)
        records = Records(waves, 50.0, table.assign(usable_from_hz=0.1, usable_to_hz=20.0))
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again from what is resident now
        before, begun = resident("VmRSS"), time.perf_counter()
        made = generate.mix(model, records, K)
        seconds, beyond = time.perf_counter() - begun, resident("VmHWM") - before - made.waveforms.nbytes
        row(n, len(records.stations), seconds / n, beyond / 1e6)


def peak(settings, batch, ours):
    """Bytes that one training step adds to the peak of a process of its own."""
    model, x = build(settings), noise(batch, settings.n_samples)
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(model, x, ours)()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts again from what is resident now
    before = resident("VmRSS")
    step(model, x, ours)()
    return resident("VmHWM") - before


def resident(name):
    """Bytes of VmRSS (now) or VmHWM (peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def memory(arguments):
    head("training step", "peak memory, MB")
    for who in ("plain", "ours"):
        command = [sys.executable, __file__, *arguments, "--peak-of", who]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        row(who, int(found) / 1e6)


def rates(settings, batch, n_rounds=5):
    """{what: (seconds, operations a second)} of training steps and matrix products, in turns, the best of n_rounds.

    Long periods, since on narrow maps the counted operations include taps that only meet the padding. The plain form
    runs more operations for the same step; its rate is counted in ours."""
    model = build(settings)
    x, runs, counts = periodic(model, batch, settings.n_samples), {}, {}
    kinds = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if DEVICE.type == "cuda" else {})
    for name, kind in kinds.items():
        n = 8192 if DEVICE.type == "cuda" else 2048
        a = torch.randn(n, n, dtype=kind, device=DEVICE)
        runs[f"matrix product, {name}"], counts[f"matrix product, {name}"] = (lambda a=a: a @ a), 2 * n**3
        runs[f"ours, {name}"] = step(model, x, True, mixed=name == "bfloat16")
    runs["plain, float32"] = step(model, x, False)
    with FlopCounterMode(display=False) as counter:
        runs["ours, float32"]()
    seconds = np.array([[timed(run) for run in runs.values()] for _ in range(1 + n_rounds)])[1:].min(0)
    counted = (
        (name, each, counts.get(name, counter.get_total_flops())) for name, each in zip(runs, seconds, strict=True)
    )
    return {name: (each, count / each) for name, each, count in counted}


def device_rate(settings, batch):
    """Achieved share of the device's matrix rate in a training step of ours and of the plain form."""
    found = rates(settings, batch)
    head(f"rate on {DEVICE.type}", "s", "10⁹ operations a second", "share of the matrix product's")
    for name, (seconds, rate) in found.items():
        row(name, seconds, rate / 1e9, rate / found[f"matrix product, {name.split(', ')[1]}"][1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--tables", nargs="+", metavar="NAME", help="layer generation memory bank scale rate growth; else all"
    )
    parser.add_argument("--batch", type=int, help="else the recipe's on CUDA and with --quick, 2 on a CPU")
    parser.add_argument("--peak-of", choices=["plain", "ours"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    profile = config.profile("quick" if options.quick else "paper")
    settings = replace(profile.timesnet, dropout=0.0)
    batch = options.batch or (profile.training.batch_size if DEVICE.type == "cuda" or options.quick else 2)
    if options.peak_of:
        print(peak(settings, batch, options.peak_of == "ours"))
        return
    print(f"{profile.name}: {settings}; batch {batch}; {DEVICE}; {options.threads} threads; {options.pairs} pairs")
    tables = {
        "layer": lambda: layer(settings, batch, options.pairs),
        "generation": lambda: generation(settings, 60, 1),
        "memory": lambda: memory(sys.argv[1:]),
        "bank": lambda: bank(settings),
        "scale": scale,
        "rate": lambda: device_rate(settings, batch),
        "growth": lambda: growth(settings, batch, options.pairs),
    }
    for name in options.tables or tables:
        tables[name]()


if __name__ == "__main__":
    main()
