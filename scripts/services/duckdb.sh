#!/usr/bin/env bash
# DuckDB from PyPI, which `bench query` asks beside the product.
#
#   duckdb.sh install        Python 3.10 or newer with venv, and DuckDB, each only where missing
#   duckdb.sh env            prints where its Python lies
#
# Used by the bench only; nothing of it is vendored or shipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

requirements="$here/duckdb/requirements.txt"
python=$(python_folder "$requirements" duckdb)

case "${1:-}" in
install) python_install "$requirements" "$python" "DuckDB" ;;
env) printf 'export AEGIS_BENCH_DUCKDB=%q\n' "$python/bin/python" ;;
*) die "usage: $0 install | env" ;;
esac
