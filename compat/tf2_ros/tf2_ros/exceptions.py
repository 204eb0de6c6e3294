"""Why a transform cannot be given; the classes of tf2."""


class TransformException(Exception):
    """Base of all."""


class LookupException(TransformException):
    """A frame was never heard of."""


class ConnectivityException(TransformException):
    """Both frames are known, but no chain joins them."""


class ExtrapolationException(TransformException):
    """No pose around the requested time."""


class InvalidArgumentException(TransformException):
    """An argument makes no sense, such as an empty frame name."""


class TimeoutException(TransformException):
    """Waiting took too long."""
