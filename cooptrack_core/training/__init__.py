"""What training adds to the network: assignment, losses, one iteration."""
