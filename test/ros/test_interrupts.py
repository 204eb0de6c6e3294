"""Nodes that are stopped at an awkward moment: that is no failure, whatever rclpy raises then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import rclpy
from processes import ROOT, WAIT_S

from cooptrack_ros.lifecycle import run_node


def test_what_fails_because_the_process_is_being_stopped_is_no_error(capsys):
    def interrupted():
        rclpy.shutdown()
        raise RuntimeError("the given context is not valid")

    assert run_node(interrupted, []) == 0
    assert capsys.readouterr().err == ""


def in_a_process_of_its_own(script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script that gets signals, with what it needs imported."""
    head = """
        import contextlib, os, signal, sys, time
        from lifecycle_msgs.srv import GetState
        from rclpy.node import Node
        from cooptrack_ros.lifecycle import ManagedNode, run_node
        from cooptrack_ros.parameters import AgentParameters
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(script)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_S)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_a_node_comes_up_stops_it_quietly(number):
    """Half of what activation makes is there by then, and the other half fails."""
    ended = in_a_process_of_its_own(
        f"""
        class Interrupted(ManagedNode):
            def activate(self):
                with contextlib.suppress(KeyboardInterrupt):  # as it is where rclpy swallows it
                    os.kill(os.getpid(), {int(number)})
                    time.sleep(0.01)
                while self.context.ok():
                    time.sleep(0.001)
                self.create_client(GetState, "anything")  # raises now
                print("not reached")

        sys.exit(run_node(lambda: Interrupted("interrupted", AgentParameters), []))
        """
    )
    assert ended.returncode == 0 and ended.stdout == "", ended.stderr
    assert "cannot activate" not in ended.stderr and "Traceback" not in ended.stderr


def test_an_interrupt_while_something_fails_or_closes_is_no_failure():
    script = """
        class Stubborn(Node):
            def close(self):
                self.destroy_node()
                {on_close}

        def work(node):
            {at_work}

        sys.exit(run_node(lambda: Stubborn("stubborn"), [], work=work))
    """
    interrupt = "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
    broken = "raise RuntimeError('half of it is gone')"
    for on_close, at_work in ((broken, interrupt), (interrupt, broken), (interrupt, "pass")):
        ended = in_a_process_of_its_own(script.format(on_close=on_close, at_work=at_work))
        assert ended.returncode == 0 and ended.stderr == ""
    failed = in_a_process_of_its_own(script.format(on_close=broken, at_work="pass"))
    assert failed.returncode == 1 and "half of it is gone" in failed.stderr
