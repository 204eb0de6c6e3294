"""What can happen; see launch.events.process."""

from launch._not_offered import not_offered

__getattr__ = not_offered(__name__)
