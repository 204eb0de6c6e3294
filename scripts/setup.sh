# Brings everything to the state that `make` needs: environment, packages, build. Quick if nothing has changed.
# What it cannot bring itself is named with the line that installs it.

set -e
cd "$(dirname "$0")/.."

python=.venv/bin/python
"$python" -c '' 2>/dev/null || python=${PYTHON:-$(sh scripts/find_python.sh)}
if [ -z "$python" ]; then
  cat >&2 <<'TEXT'
cooptrack: no Python 3.10, 3.11, 3.12 or 3.13 was found. On Debian or Ubuntu:
  sudo apt-get install -y python3 python3-venv python3-dev g++ make
A newer system Python: install one of those beside it, or source ROS 2 and run this again.
TEXT
  exit 1
fi
exec "$python" scripts/setup.py "$@"
