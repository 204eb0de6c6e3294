# Source this file (bash, zsh, or sh from the repository root): ROS 2, the workspace and the stand-ins are then on the path.
# `make` does it for you; `make shell` opens a shell with it. What it sets is written by scripts/setup.py.

if [ -n "${BASH_VERSION:-}" ]; then
  eval 'COOPTRACK_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)'
elif [ -n "${ZSH_VERSION:-}" ]; then
  eval 'COOPTRACK_ROOT=$(cd "$(dirname "${(%):-%x}")/.." && pwd)'
else
  COOPTRACK_ROOT=${COOPTRACK_ROOT:-$PWD}
fi
export COOPTRACK_ROOT

if [ -f "$COOPTRACK_ROOT/build/environment.sh" ]; then
  . "$COOPTRACK_ROOT/build/environment.sh"
else
  echo "scripts/env.sh: $COOPTRACK_ROOT is not built yet; run: make build" >&2
  return 1
fi
