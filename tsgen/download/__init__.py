"""Public strong-motion records by one command: ``python -m tsgen.download esm|fdsn|openeew`` (``plan`` says how)."""
