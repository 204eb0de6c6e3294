"""What frames cost: real frames of both agents, the same steps as in the nodes, and tables of their stages."""
