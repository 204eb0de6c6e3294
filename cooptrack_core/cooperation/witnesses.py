from __future__ import annotations
class Witnesses:
    def contradicted(self, stamp_ns, messages, quarantined):
        return {}
