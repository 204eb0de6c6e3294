"""What agents tell each other and what they make of it."""
