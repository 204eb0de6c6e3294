"""Rigid transforms, boxes and ranges: the one place that knows box conventions."""
