"""Generate `grpc_api/wire` from `grpc_api/protos`: `python -m broadaxe.grpc_api.generate [--check]`.

Development only: needs grpcio-tools (the compiler) and mypy-protobuf (the type stubs). The modules hold
nothing but the serialised file description, so they do not change with the compiler's version.
"""

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

_ROOM = Path(__file__).parent
PROTOS = _ROOM / "protos"
WIRE = _ROOM / "wire"
_PACKAGE = "broadaxe.grpc_api.wire"
_CHUNK = 80


class GenerationFailed(Exception):
    """The compiler refused the files; the message is what it printed."""


def generate() -> Mapping[Path, str]:
    """Compile the protocol files; the generated texts by their path below `wire/`."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        _compile(sources, out)
        files = FileDescriptorSet.FromString((out / "set.binpb").read_bytes()).file
        texts = {}
        for file in files:
            if file.name in sources:
                module = Path(file.name).with_suffix("")
                target = module.with_name(module.name + "_pb2.py")
                texts[target] = _module(file, set(sources))
                stub = target.with_suffix(".pyi")
                texts[stub] = _own_imports((out / stub).read_text(), sources)
        return texts


def _compile(sources: list[str], out: Path) -> None:
    """Run protoc with the stub plugin; raises `GenerationFailed`."""
    spec = find_spec("grpc_tools")
    if spec is None or spec.origin is None:
        raise GenerationFailed("grpcio-tools is not installed")
    well_known = Path(spec.origin).parent / "_proto"
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        *(f"-I{PROTOS}", f"-I{well_known}"),
        *("--include_imports", f"--descriptor_set_out={out / 'set.binpb'}", f"--mypy_out=quiet:{out}"),
        *sources,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False
    )
    if done.returncode:
        raise GenerationFailed(done.stderr.strip())


def _module_name(source: str) -> str:
    return source.removesuffix(".proto").replace("/", ".") + "_pb2"


def _module(file: FileDescriptorProto, ours: set[str]) -> str:
    """The text of one module. Imports of our own files come first: they must be in the pool before."""
    imports = ["from broadaxe.grpc_api.wire import pool as _pool"]
    for dependency in file.dependency:
        if dependency in ours:
            package, _, name = f"{_PACKAGE}.{_module_name(dependency)}".rpartition(".")
            imports.append(f"from {package} import {name} as _{name}")
    for message in file.message_type:
        _drop_json_names(message)
    serialized = file.SerializeToString(deterministic=True)
    chunks = [serialized[start : start + _CHUNK] for start in range(0, len(serialized), _CHUNK)]
    lines = [
        f'"""Generated from protos/{file.name} by `make protos`; do not edit."""',
        "",
        *imports,
        "",
        "DESCRIPTOR = _pool.load(",
        *(f"    {chunk!r}" for chunk in chunks[:-1]),
        f"    {chunks[-1]!r},",
        "    globals(),",
        ")",
        "",
    ]
    return "\n".join(lines)


def _drop_json_names(message: DescriptorProto) -> None:
    """The compiler writes them out, and they follow from the names."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _drop_json_names(nested)


def _own_imports(stub: str, sources: list[str]) -> str:
    """Point a stub's imports of sibling files into our package."""
    for source in sources:
        package, _, name = _module_name(source).rpartition(".")
        if package:
            stub = re.sub(
                rf"^from {re.escape(package)} import {name}\b",
                f"from {_PACKAGE}.{package} import {name}",
                stub,
                flags=re.M,
            )
    return stub


def stale(texts: Mapping[Path, str]) -> list[Path]:
    """Which of the generated files differ from what is there, and files there that nothing generates."""
    found = {path.relative_to(WIRE) for path in WIRE.rglob("*_pb2.py*")}
    differing = [
        path for path, text in texts.items() if path not in found or (WIRE / path).read_text() != text
    ]
    return sorted([*differing, *(found - set(texts))])


def main(arguments: list[str]) -> int:
    """Write the generated files; with `--check` only fail when one is stale."""
    texts = generate()
    if "--check" in arguments:
        for path in stale(texts):
            print(f"{WIRE / path} is stale: run `make protos`", file=sys.stderr)
        return int(bool(stale(texts)))
    for path, text in texts.items():
        target = WIRE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
