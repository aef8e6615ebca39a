"""The embedded default: a network of simulated stations whose site response is known.

The stochastic method (Boore 2003, Pure Appl. Geophys. 160, 635): a Brune source (``source``), a crust that differs from
place to place (``crust``), layered sites (``site``) and windowed noise with components that move together and waves of
the basin behind S (``motion``) make the records of a ``network``. What makes motion rough can be switched off, one
ingredient at a time: SimulationSettings.without.
"""

from tsgen.simulate.network import catalogue, fresh, largest_distance, network, stations
from tsgen.simulate.site import site_amplification
from tsgen.simulate.source import VELOCITY, corner_frequency, source_spectrum

__all__ = ["VELOCITY", "catalogue", "corner_frequency", "fresh", "largest_distance", "network"]
__all__ += ["site_amplification", "source_spectrum", "stations"]
