"""Site-specific strong-motion generation: TimesNet-Gen, its baselines, and how to judge them."""
