"""The modules of a network as they run without gradient on a CPU: other arithmetic, the same numbers to about 1e-5.

Each class here is one of the plain modules with another forward pass and with constants that follow from its weights.
`network.faster` puts them into a copy of a trained network; nothing else knows of them.
"""
