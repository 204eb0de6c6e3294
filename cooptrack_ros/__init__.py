"""ROS 2 nodes of cooptrack: thin shells around cooptrack_core."""
