"""Stand-in for the part of launch_ros that cooptrack's launch files use, for machines without the original.

Offers launch_ros.actions.Node, launch_ros.substitutions.FindPackageShare and
launch_ros.parameter_descriptions.ParameterValue. Not offered: lifecycle nodes, components, namespaces of groups.
"""

from launch._not_offered import not_offered

__getattr__ = not_offered(__name__)
