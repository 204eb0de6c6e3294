"""Stand-in for the part of launch_ros that cooptrack's launch files use, for machines without the original.

Offers launch_ros.actions.Node with plain parameter values. Not offered: lifecycle nodes, components, namespaces of
groups, substitutions.
"""

from launch._not_offered import not_offered

__getattr__ = not_offered(__name__)
