"""Weights: safetensors with a fingerprint, and the names of the published checkpoints."""
