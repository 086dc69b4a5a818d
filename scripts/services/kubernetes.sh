#!/usr/bin/env bash
# A Kubernetes cluster without machines, for the opt-in tests: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl,
# built from their Go modules, and kwok, which plays the kubelets: pods become Running and ready, no container runs.
#
#   kubernetes.sh install              builds the programs into the cache folder, once for each version (kubernetes/go.mod)
#   kubernetes.sh start FOLDER         starts a cluster; returns once pods can run; prints an env line
#   kubernetes.sh stop FOLDER          stops it
#   kubernetes.sh kill FOLDER PART     SIGKILL for one of its programs (etcd, kube-apiserver, …)
#   kubernetes.sh run FOLDER PART      starts it again at the address that it had
#
# The API server is a real one: TLS with a certificate authority of its own, tokens, RBAC, admission, an audit log of what the
# service accounts of namespace aegis ask for (FOLDER/audit.log). Everything listens on loopback. FOLDER/proxy is the address of a `kubectl proxy` with
# the administrator's rights, for the tests' own hands.
#
# It does not do: containers, their logs and metrics, `exec`, images, networks.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

sources="$here/kubernetes"
# The files are part of the name: another version is another folder.
programs="$AEGIS_TEST_CACHE/kubernetes/$(cat "$sources/go.mod" "$sources/go.sum" | cksum | cut -d ' ' -f 1)"
parts=(etcd kube-apiserver kube-controller-manager kube-scheduler kwok proxy)
# Not less: the modules ask for it.
go_least=1.26.0

# --- the programs ---

version_of() { sed -n "s#^.*[ \t]$1 v\([0-9.]*\).*#\1#p" "$sources/go.mod" | head -n 1; }

install() {
    local go fresh version kwok stage
    have openssl || apt_install openssl
    [ ! -f "$programs/.complete" ] || return 0
    go=$(go_program "$go_least")
    version=$(version_of k8s.io/kubernetes)
    say "building Kubernetes $version from its Go modules to $programs (about 25 minutes of one core, 3 GB in Go's caches)"
    mkdir -p "$(dirname "$programs")"
    fresh=$(mktemp -d "$programs.XXXXXX")
    local set=k8s.io/component-base/version
    # Without cgo no compiler for C is needed. The packages are built with the main module's versions, which go.sum pins.
    if ! (cd "$sources" && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice -n 5 "$go" build -trimpath \
        -ldflags "-s -w -X $set.gitVersion=v$version -X $set.gitMajor=${version%%.*} -X $set.gitMinor=$(cut -d . -f 2 <<<"$version")" \
        -o "$fresh/" tool >"$fresh/build.log" 2>&1); then
        tail_log "$fresh/build.log"
        rm -rf "$fresh"
        die "Kubernetes could not be built"
    fi
    # The module's package is called like what it is.
    mv "$fresh/server" "$fresh/etcd"
    # What kwok's nodes and pods do comes with its module.
    kwok=$(cd "$sources" && "$go" list -m -f '{{.Dir}}' sigs.k8s.io/kwok)
    for stage in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease pod/fast/pod-ready pod/fast/pod-delete; do
        printf -- '---\n' && cat "$kwok/kustomize/stage/$stage.yaml"
    done >"$fresh/stages.yaml"
    touch "$fresh/.complete"
    # Two that build at once: the first rename wins, the other copy is thrown away.
    mv -T "$fresh" "$programs" 2>/dev/null || rm -rf "$fresh"
    [ -f "$programs/.complete" ] || die "$programs is in the way: remove it and try again"
}

# --- certificates: one authority, and a certificate for each that asks ---

authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=test-cluster \
        -config <(printf '[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n') \
        -keyout "$1/ca.key" -out "$1/ca.crt" 2>/dev/null
}

# certificate FOLDER NAME SUBJECT EXTENSIONS
certificate() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" -keyout "$1/$2.key" -out "$1/$2.csr" 2>/dev/null &&
        openssl x509 -req -in "$1/$2.csr" -CA "$1/ca.crt" -CAkey "$1/ca.key" -CAcreateserial -days 30 \
            -extfile <(printf '%s\n' "$4") -out "$1/$2.crt" 2>/dev/null
}

# kubeconfig FOLDER NAME SUBJECT
kubeconfig() {
    certificate "$1" "$2" "$3" 'extendedKeyUsage=clientAuth'
    cat >"$1/$2.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "$(cat "$1/server")", certificate-authority: "$1/ca.crt"}}]
users: [{name: $2, user: {client-certificate: "$1/$2.crt", client-key: "$1/$2.key"}}]
contexts: [{name: test, context: {cluster: test, user: $2}}]
current-context: test
EOF
}

prepare() {
    local folder=$1 ports
    mapfile -t ports < <(free_ports 5)
    printf 'http://127.0.0.1:%s\n' "${ports[0]}" >"$folder/etcd.url"
    printf 'http://127.0.0.1:%s\n' "${ports[1]}" >"$folder/peer.url"
    printf 'https://127.0.0.1:%s\n' "${ports[2]}" >"$folder/server"
    printf '127.0.0.1:%s\n' "${ports[3]}" >"$folder/kwok.address"
    printf '127.0.0.1:%s\n' "${ports[4]}" >"$folder/proxy"
    authority "$folder"
    certificate "$folder" server /CN=kube-apiserver $'extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1,DNS:localhost'
    openssl ecparam -name prime256v1 -genkey -noout -out "$folder/accounts.key" 2>/dev/null
    openssl ec -in "$folder/accounts.key" -pubout -out "$folder/accounts.pub" 2>/dev/null
    kubeconfig "$folder" admin /O=system:masters/CN=admin
    kubeconfig "$folder" controllers /CN=system:kube-controller-manager
    kubeconfig "$folder" scheduler /CN=system:kube-scheduler
    kubeconfig "$folder" kwok /O=system:masters/CN=kwok
    # What service accounts of namespace aegis ask for, each request once it is answered.
    cat >"$folder/audit.yaml" <<'EOF'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - {level: Metadata, userGroups: ["system:serviceaccounts:aegis"]}
  - {level: None}
EOF
    chmod 600 "$folder"/*.key "$folder"/*.kubeconfig
}

# --- the cluster ---

# command_of FOLDER PART: fills the array `command`.
command_of() {
    local folder=$1 server port
    server=$(cat "$folder/server")
    port=${server##*:}
    case "$2" in
    etcd) command=("$programs/etcd" "--data-dir=$folder/etcd.data" --name=test "--listen-client-urls=$(cat "$folder/etcd.url")"
        "--advertise-client-urls=$(cat "$folder/etcd.url")" "--listen-peer-urls=$(cat "$folder/peer.url")"
        "--initial-advertise-peer-urls=$(cat "$folder/peer.url")" "--initial-cluster=test=$(cat "$folder/peer.url")"
        # Nothing here outlives the machine.
        --unsafe-no-fsync --log-level=warn) ;;
    kube-apiserver) command=("$programs/kube-apiserver" --bind-address=127.0.0.1 "--secure-port=$port" --advertise-address=127.0.0.1
        --endpoint-reconciler-type=none "--etcd-servers=$(cat "$folder/etcd.url")" "--tls-cert-file=$folder/server.crt"
        "--tls-private-key-file=$folder/server.key" "--client-ca-file=$folder/ca.crt" --authorization-mode=RBAC
        --service-account-issuer=https://test-cluster "--service-account-key-file=$folder/accounts.pub"
        "--service-account-signing-key-file=$folder/accounts.key" --service-cluster-ip-range=10.96.0.0/16
        "--audit-policy-file=$folder/audit.yaml" "--audit-log-path=$folder/audit.log" --profiling=false) ;;
    kube-controller-manager) command=("$programs/kube-controller-manager" "--kubeconfig=$folder/controllers.kubeconfig" --secure-port=0
        --leader-elect=false --use-service-account-credentials=true "--service-account-private-key-file=$folder/accounts.key" "--root-ca-file=$folder/ca.crt"
        --controllers=deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,namespace-controller,garbage-collector-controller,serviceaccount-controller,root-ca-certificate-publisher-controller,node-lifecycle-controller,pod-garbage-collector-controller,resourcequota-controller) ;;
    kube-scheduler) command=("$programs/kube-scheduler" "--kubeconfig=$folder/scheduler.kubeconfig" --secure-port=0 --leader-elect=false) ;;
    kwok) command=("$programs/kwok" "--kubeconfig=$folder/kwok.kubeconfig" --manage-all-nodes=true --node-lease-duration-seconds=40
        "--config=$programs/stages.yaml" "--server-address=$(cat "$folder/kwok.address")") ;;
    proxy) command=("$programs/kubectl" "--kubeconfig=$folder/admin.kubeconfig" proxy --address=127.0.0.1
        "--port=$(sed 's/.*://' "$folder/proxy")") ;;
    *) die "$2 is no part of the cluster: ${parts[*]}" ;;
    esac
}

run_part() {
    local folder=$1 part=$2 command
    command_of "$folder" "$part"
    # A process group of its own: Ctrl-C in the terminal ends the tests, whose trap then stops the cluster in order.
    setsid "${command[@]}" </dev/null >>"$folder/$part.log" 2>&1 &
    printf '%s\n' "$!" >"$folder/$part.pid"
}

kill_part() {
    local pid
    [ -s "$1/$2.pid" ] || die "$2 does not run in $1"
    pid=$(cat "$1/$2.pid")
    if pid_is_ours "$pid" "$1"; then
        kill -KILL "$pid"
        wait_until 10 "$2 (process $pid) to die" pid_is_gone "$pid" "$1"
    fi
    rm -f "$1/$2.pid"
}

kubectl() { "$programs/kubectl" "--kubeconfig=$1/admin.kubeconfig" --request-timeout=10s "${@:2}" >/dev/null 2>&1; }

settled() { "$@" || any_is_dead "$waiting_in"; }
any_is_dead() {
    local file
    for file in "$1"/*.pid; do pid_is_ours "$(cat "$file")" "$1" || return 0; done
    return 1
}

# ready FOLDER WHAT COMMAND...: as long as it needs on a loaded machine, unless a program has ended.
ready() {
    waiting_in=$1
    wait_until 300 "$2" settled "${@:3}" && ! any_is_dead "$1"
}

node() {
    printf '{"apiVersion":"v1","kind":"Node","metadata":{"name":"node-%s","labels":{"kubernetes.io/hostname":"node-%s"}}}\n' "$1" "$1"
}

start() {
    local folder=$1 part up=yes
    [ -f "$programs/.complete" ] || die "Kubernetes is not built: run '$0 install' first"
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    [ ! -s "$folder/etcd.pid" ] || die "$folder already has a cluster; stop it first"
    prepare "$folder"
    {
        run_part "$folder" etcd && ready "$folder" etcd port_open "$(sed 's/.*://' "$folder/etcd.url")" &&
            run_part "$folder" kube-apiserver && ready "$folder" "the API server" kubectl "$folder" get --raw /readyz &&
            { node 1 && node 2; } >"$folder/nodes.json" && kubectl "$folder" create -f "$folder/nodes.json" &&
            for part in kube-controller-manager kube-scheduler kwok proxy; do run_part "$folder" "$part"; done &&
            ready "$folder" "service accounts" kubectl "$folder" get serviceaccount default &&
            ready "$folder" nodes kubectl "$folder" wait --for=condition=Ready --timeout=5s node --all
    } || up=no
    if [ "$up" = no ]; then
        for part in "${parts[@]}"; do [ ! -f "$folder/$part.log" ] || tail_log "$folder/$part.log"; done
        stop "$folder" || true
        die "the cluster did not start"
    fi
    ln -sfn "$programs/kubectl" "$folder/kubectl"
    printf "export AEGIS_TEST_KUBERNETES='%s'\n" "$folder"
}

stop() {
    local index rc=0
    # Those that ask, before those that answer.
    for ((index = ${#parts[@]} - 1; index >= 0; index--)); do
        stop_pid "${parts[$index]}" "$1/${parts[$index]}.pid" "$1" || rc=1
    done
    return "$rc"
}

case "${1:-}:$#" in
install:1) install ;;
start:2) start "$2" ;;
stop:2) stop "$2" ;;
kill:3) kill_part "$2" "$3" ;;
run:3) run_part "$2" "$3" ;;
*) die "usage: $0 install | start FOLDER | stop FOLDER | kill FOLDER PART | run FOLDER PART" ;;
esac
