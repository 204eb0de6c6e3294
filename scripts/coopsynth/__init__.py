"""How the traffic of CoopSynth is made: layouts, SUMO runs, choice of the sequences. Users do not need this."""
