"""Checks of what is not Python: manifests, profiles, parameter files, and that each lists what there is."""

from __future__ import annotations

import ast
import configparser
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import yaml
from catkin_pkg.changelog import InvalidSectionTitle, get_changelog_from_path
from catkin_pkg.package import InvalidPackage, parse_package

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (".", "cooptrack_msgs", "compat/tf2_msgs", "compat/vision_msgs")
OWN_PACKAGES = PACKAGES[:2]
# Packages that rosdep knows under another name than Python's; those without a key come from pip.
ROSDEP_KEYS = {
    "catkin_pkg": "python3-catkin-pkg",
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
FROM_PIP = ("rosbags",)
OWN_MODULES = ("cooptrack_core", "cooptrack_msgs", "cooptrack_ros")


def tracked(root: Path, *suffixes: str) -> list[Path]:
    """Files with these suffixes, without those that were generated or installed."""
    skipped = {".venv", "build", "install", "log", "demo", "node_modules", ".git"}
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix in suffixes and not skipped & set(path.relative_to(root).parts)
    ]


def defects(root: Path = ROOT) -> list[str]:
    """One line for each defect; what cannot be read is all there is to say until it can be."""
    readable = (package_defects, xml_defects, yaml_defects)
    meaning = (version_defects, profile_defects, listing_defects, dependency_defects)
    found = [line for check in readable for line in check(root)]
    return found or [line for check in meaning for line in check(root)]


def package_defects(root: Path) -> Iterator[str]:
    """package.xml in format 3, as catkin_pkg reads it."""
    for folder in PACKAGES:
        warnings: list[str] = []
        try:
            package = parse_package(str(root / folder / "package.xml"), warnings=warnings)
        except InvalidPackage as error:
            yield f"{folder}/package.xml: {error}"
            continue
        yield from (f"{folder}/package.xml: {warning}" for warning in warnings)
        if package.package_format != 3:
            yield f"{folder}/package.xml: format is {package.package_format}, not 3"
        if list(map(str, package.licenses)) != ["Apache-2.0"]:
            yield f"{folder}/package.xml: license is {list(map(str, package.licenses))}, not Apache-2.0"


def versions(root: Path) -> dict[str, str]:
    """The version as each place has it."""

    def found(name: str, pattern: str) -> str:
        match = re.search(pattern, (root / name).read_text(), re.MULTILINE)
        return match[1] if match else "none"

    places = {
        "pyproject.toml": found("pyproject.toml", r'^version = "(.*)"'),
        "cooptrack_core/__init__.py": found("cooptrack_core/__init__.py", r'^__version__ = "(.*)"'),
        "player/package.json": found("player/package.json", r'"version": "(.*)"'),
    }
    for folder in OWN_PACKAGES:
        places[f"{folder}/package.xml"] = found(f"{folder}/package.xml", r"<version>(.*)</version>")
    try:
        changelog = get_changelog_from_path(str(root / "CHANGELOG.rst"))
        places["CHANGELOG.rst"] = "none" if changelog is None else next(changelog.foreach_version())[0]
    except InvalidSectionTitle as error:
        places["CHANGELOG.rst"] = str(error)
    return places


def version_defects(root: Path) -> Iterator[str]:
    """One version everywhere."""
    places = versions(root)
    if len(set(places.values())) != 1:
        yield "versions differ: " + ", ".join(f"{place} {version}" for place, version in places.items())


def xml_defects(root: Path) -> Iterator[str]:
    """Well-formed XML."""
    for path in tracked(root, ".xml"):
        try:
            ElementTree.parse(path)
        except ElementTree.ParseError as error:
            yield f"{path.relative_to(root)}: {error}"


def profile_defects(root: Path) -> Iterator[str]:
    """Fast DDS profiles: the transports they use are there, and only the local one has a white list."""
    space = "{http://www.eprosima.com}"
    for kind in ("local", "network"):
        name = f"config/fastdds_{kind}.xml"
        tree = ElementTree.parse(root / name)
        made = {item.text for item in tree.iter(f"{space}transport_id") if item.text}
        used = {item.text for item in tree.iterfind(f".//{space}userTransports/{space}transport_id")}
        described = {item.findtext(f"{space}transport_id") for item in tree.iter(f"{space}transport_descriptor")}
        if used != described or made != used:
            yield f"{name}: transports described {sorted(map(str, described))}, used {sorted(map(str, used))}"
        if not any(item.get("is_default_profile") == "true" for item in tree.iter(f"{space}participant")):
            yield f"{name}: no default participant profile"
        if (tree.find(f".//{space}interfaceWhiteList") is not None) != (kind == "local"):
            yield f"{name}: interfaceWhiteList belongs into the local profile only"


def yaml_defects(root: Path) -> Iterator[str]:
    """Valid YAML; parameter files are nodes with ros__parameters."""
    for path in tracked(root, ".yaml", ".yml", ".rviz"):
        name = path.relative_to(root)
        try:
            content = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            yield f"{name}: {' '.join(str(error).split())}"
            continue
        if name.parts[0] == "config" and path.stem.endswith("_node"):
            shaped = isinstance(content, dict) and all(
                isinstance(node, dict) and list(node) == ["ros__parameters"] for node in content.values()
            )
            if not shaped:
                yield f"{name}: not of the form node: ros__parameters: name: value"


def executables(root: Path) -> dict[str, str]:
    """Console scripts of cooptrack_ros: name to module:function."""
    config = configparser.ConfigParser()
    config.read(root / "cooptrack_ros" / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].split("\n")
    return {name.strip(): target.strip() for name, _, target in (line.partition("=") for line in lines if line)}


def listing_defects(root: Path) -> Iterator[str]:
    """CMake, setup.cfg, config/ and the launch files list each message and node."""
    cmake = (root / "cooptrack_msgs" / "CMakeLists.txt").read_text()
    listed = set(re.findall(r'"msg/(\w+\.msg)"', cmake))
    there = {path.name for path in (root / "cooptrack_msgs" / "msg").glob("*.msg")}
    if listed != there:
        yield f"cooptrack_msgs/CMakeLists.txt: messages differ from msg/: {sorted(listed ^ there)}"
    scripts = executables(root)
    nodes = {path.stem for path in (root / "cooptrack_ros").glob("*_node.py") if "def main(" in path.read_text()}
    if set(scripts) != nodes:
        yield f"cooptrack_ros/setup.cfg: console_scripts differ from the nodes: {sorted(set(scripts) ^ nodes)}"
    for name, target in scripts.items():
        if target != f"cooptrack_ros.{name}:main":
            yield f"cooptrack_ros/setup.cfg: {name} is {target}, not cooptrack_ros.{name}:main"
        if not (root / "config" / f"{name}.yaml").is_file():
            yield f"config/{name}.yaml: missing"
    sources = [*(root / "launch").glob("*.launch.py"), root / "cooptrack_ros" / "launch_parts.py"]
    launched = {name for path in sources for name in re.findall(r'"(\w+_node)"', path.read_text())}
    if launched != set(scripts):
        yield f"launch/: nodes started differ from the executables: {sorted(launched ^ set(scripts))}"
    installed = (root / "CMakeLists.txt").read_text()
    for folder in ("launch", "config", "rviz"):
        if not re.search(rf"install\(DIRECTORY [^)]*\b{folder}\b", installed):
            yield f"CMakeLists.txt: {folder}/ is not installed"


def imported_modules(paths: list[Path]) -> set[str]:
    """Top-level names of what Python files import, the standard library left out."""
    names = set()
    for path in paths:
        for item in ast.walk(ast.parse(path.read_text())):
            if isinstance(item, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in item.names)
            elif isinstance(item, ast.ImportFrom) and item.module and not item.level:
                names.add(item.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


def dependency_defects(root: Path) -> Iterator[str]:
    """What the nodes and launch files import is declared in package.xml."""
    package = parse_package(str(root / "package.xml"))
    declared = {dependency.name for dependency in package.exec_depends}
    sources = [*(root / "cooptrack_ros").rglob("*.py"), *(root / "launch").glob("*.py")]
    for module in sorted(imported_modules(sources) - set(OWN_MODULES) - set(FROM_PIP)):
        key = ROSDEP_KEYS.get(module, module)
        if key not in declared:
            yield f"package.xml: <exec_depend>{key}</exec_depend> is missing (imported as {module})"
