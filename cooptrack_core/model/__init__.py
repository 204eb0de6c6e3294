"""The CoopTrack network, one concept a file: ResNet to tracks, in plain PyTorch."""
