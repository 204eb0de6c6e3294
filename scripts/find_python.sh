# Prints the interpreter to set up with: the one of a sourced ROS 2, else the newest complete Python 3.10-3.13,
# else the newest incomplete one (setup.py then says what it lacks). Prints nothing if there is none.

usable='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
complete='import os, sys, sysconfig, ensurepip, venv
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'

if [ -n "${ROS_DISTRO:-}" ] && python3 -c 'import rclpy' 2>/dev/null; then
  command -v python3
  exit 0
fi

fallback=
for name in python3.13 python3.12 python3.11 python3.10 python3; do
  path=$(command -v "$name") || continue
  "$path" -c "$usable" 2>/dev/null || continue
  if "$path" -c "$complete" 2>/dev/null; then
    echo "$path"
    exit 0
  fi
  fallback=${fallback:-$path}
done
echo "$fallback"
