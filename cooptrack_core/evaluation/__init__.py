"""Figures by which a run is judged."""
