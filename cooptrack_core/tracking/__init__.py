"""Object-level tracking: Kalman filters, assignment, life cycle."""
