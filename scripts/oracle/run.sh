# Runs generate.py in an environment of its own, .oracle, which it makes first; arguments go to generate.py.

set -e
cd "$(dirname "$0")/../.."
unset PYTHONPATH PYTHONHOME

# numpy 1.26, which the kit wants, has wheels up to Python 3.12.
usable='import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
requirements=scripts/oracle/requirements.txt

if ! cmp -s "$requirements" .oracle/requirements.txt || ! .oracle/bin/python -c '' 2>/dev/null; then
  python=
  for name in ${PYTHON:-} python3.12 python3.11 python3.10 python3; do
    if "$name" -c "$usable" 2>/dev/null; then
      python=$name
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "make oracle: needs Python 3.10, 3.11 or 3.12 with venv; install one, or name it: make oracle PYTHON=..." >&2
    exit 1
  fi
  echo "Installing the nuScenes development kit into .oracle (about 600 MB)"
  rm -rf .oracle
  "$python" -m venv .oracle
  .oracle/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" .oracle/requirements.txt
fi
OMP_NUM_THREADS=1 exec .oracle/bin/python scripts/oracle/generate.py test/data/oracle "$@"
