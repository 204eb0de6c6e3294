"""Synthetic V2X-Seq-SPD scenes of a signalised intersection.

options -> traffic (layout, signals, catalog, population) -> scene (meshes) -> renderer (EGL or rays)
-> visibility -> labels -> writer. Scene frame S: origin at the centre of the intersection on the road
surface, x east, y north, z up; the ego vehicle always comes from the south. World W is S moved and turned.
"""
