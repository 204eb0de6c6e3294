"""The benchmark CoopSynth: recorded traffic at many intersections, drawn in many lights."""
