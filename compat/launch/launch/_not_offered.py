"""The answer to a name that the stand-in lacks."""

from collections.abc import Callable


def not_offered(module: str) -> Callable[[str], object]:
    """A module's __getattr__ that says where the name can be had."""

    def __getattr__(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        package = module.partition(".")[0]
        raise ImportError(
            f"{module}.{name} is not part of cooptrack's stand-in; install ROS 2 with the package {package}"
        )

    return __getattr__
