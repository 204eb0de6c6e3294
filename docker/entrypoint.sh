#!/usr/bin/env bash
# Runs a command in the workspace's environment.
set -e
. /ws/install/setup.bash
exec "$@"
