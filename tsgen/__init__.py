"""Site-specific strong-motion generation: TimesNet-Gen, its baselines, and how to judge them.

Two ideas. Everything that shakes is a ``Records`` (records.py): read by formats/, drawn by simulate, made by a model
through generate. Everything said is a finding (findings.py): a row that evidence/ writes, claims judge, and notebooks,
README and page pivot.

Begin with study.py: ``Study("quick")`` hands out records, models, generated and fresh records and their measures, each
kept on disk (store.py) and built anew when what it rests on changes. The models are timesnet, cvae and cgm, trained by
trainer; hvsr, metrics, intensity and measures say what a record is; experiments are variants of a study; running/ is
behind ./run_all.sh.
"""
