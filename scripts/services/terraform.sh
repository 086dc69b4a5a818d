#!/usr/bin/env bash
# Terraform as a shared library, from PyPI, with a small script that looks like the program: the tests of the tool plan, drift and apply with
# it, offline, with the provider that is built in (`terraform_data`).
#
#   terraform.sh install      Python 3.10 or newer with venv, and the library, each only where missing
#   terraform.sh env          prints where the script lies
#
# Terraform's licence (BUSL) is no matter here: it is used by tests only, and nothing of it is vendored or shipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

requirements="$here/terraform/requirements.txt"
python=$(python_folder "$requirements" terraform)

case "${1:-}" in
install)
    python_install "$requirements" "$python" "Terraform's library"
    mkdir -p "$python/script"
    cp "$here/terraform/terraform" "$here/terraform/command.py" "$python/script/"
    chmod +x "$python/script/terraform"
    ;;
env) printf 'export AEGIS_TEST_TERRAFORM=%q\n' "$python/script/terraform" ;;
*) die "usage: $0 install | env" ;;
esac
