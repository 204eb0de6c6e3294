ASSOCIATION_GOAL_MS=10.0
def association_ms(*a): return (0,0,0)
