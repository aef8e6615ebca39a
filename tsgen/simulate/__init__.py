"""The embedded default: a network of simulated stations whose site response is known, by the stochastic method (Boore
2003, Pure Appl. Geophys. 160, 635): a Brune ``source``, a ``crust`` that differs from place to place, a layered
``site`` and windowed ``motion`` make the records of a ``network``. SimulationSettings.without switches ingredients
off."""

from tsgen.simulate.network import fresh, network, stations
from tsgen.simulate.site import site_amplification
from tsgen.simulate.source import VELOCITY, corner_frequency, source_spectrum

__all__ = ["VELOCITY", "corner_frequency", "fresh", "network", "site_amplification", "source_spectrum", "stations"]
