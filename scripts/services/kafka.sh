#!/usr/bin/env bash
# Apache Kafka for the tests: one KRaft node (broker and controller) on loopback, from the jars of Maven Central.
#
#   kafka.sh install       JDK 17 or newer, Maven and the jars, each only where missing
#   kafka.sh start FOLDER  formats and starts a node with its data in FOLDER; returns once it serves; prints env lines
#   kafka.sh stop FOLDER   stops it
#   kafka.sh crash FOLDER  kill -9
#   kafka.sh revive FOLDER starts it again after that, on its data and its ports; returns once it serves. The log of its
#                          last life is kept beside the new one
#   kafka.sh freeze FOLDER it stands still, with its connections open
#   kafka.sh thaw FOLDER   it goes on
#
# Listeners: PLAINTEXT; SASL_PLAINTEXT and SASL_SSL with PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
# The certificate authority is made at start and lives with the data.
# It does not do: several nodes, authorisation (every user may do everything), data that outlives the folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/services/lib.sh
. "$here/lib.sh"

version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/kafka/pom.xml")
# The pom is part of the name: another set of jars is another folder.
jars="$AEGIS_TEST_CACHE/kafka/$version-$(cksum <"$here/kafka/pom.xml" | cut -d ' ' -f 1)"

plain_user=plain-user plain_password=plain-secret
scram_user=scram-user scram_password=scram-secret

java_is_enough() {
    local major
    have java || return 1
    major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${major:-0}" -ge 17 ]
}

install() {
    local packages=()
    if ! java_is_enough; then
        apt_update_if_empty openjdk-17-jre-headless
        # Debian 13 has no 17 any more; its default is newer and does as well.
        if apt-cache show openjdk-17-jre-headless >/dev/null 2>&1; then
            packages+=(openjdk-17-jre-headless)
        else
            packages+=(default-jre-headless)
        fi
    fi
    have openssl || packages+=(openssl)
    if [ ! -f "$jars/.complete" ] && ! have mvn; then packages+=(maven); fi
    [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}"
    java_is_enough || die "Kafka needs Java 17 or newer; 'java -version' says: $(java -version 2>&1 | head -n 1)"

    [ ! -f "$jars/.complete" ] || return 0
    say "downloading Apache Kafka $version from Maven Central (about 45 MB) to $jars"
    mkdir -p "$(dirname "$jars")"
    local fresh
    fresh=$(mktemp -d "$jars.XXXXXX")
    # The pom is copied because Maven writes beside it; the checkout stays clean.
    cp "$here/kafka/pom.xml" "$fresh/pom.xml"
    if ! mvn -B -q -f "$fresh/pom.xml" dependency:copy-dependencies -DoutputDirectory="$fresh" >"$fresh/mvn.log" 2>&1; then
        tail_log "$fresh/mvn.log"
        rm -rf "$fresh"
        die "Maven could not download Kafka's jars"
    fi
    touch "$fresh/.complete"
    # Two that download at once: the first rename wins, the other copy is thrown away.
    mv -T "$fresh" "$jars" 2>/dev/null || rm -rf "$fresh"
    [ -f "$jars/.complete" ] || die "$jars is in the way: remove it and try again"
}

# A certificate authority and a broker key in FOLDER/tls, PEM throughout: Kafka reads broker.pem, librdkafka ca.pem.
make_certificates() {
    local tls=$1
    mkdir -p "$tls"
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=aegis test authority" \
        -keyout "$tls/ca.key" -out "$tls/ca.pem" -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign,cRLSign
    openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout "$tls/broker.key" -out "$tls/broker.csr"
    printf '%s\n' 'subjectAltName=DNS:localhost,IP:127.0.0.1' 'extendedKeyUsage=serverAuth' >"$tls/broker.ext"
    openssl x509 -req -in "$tls/broker.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 30 \
        -extfile "$tls/broker.ext" -out "$tls/broker.crt"
    cat "$tls/broker.key" "$tls/broker.crt" "$tls/ca.pem" >"$tls/broker.pem"
}

write_config() {
    local folder=$1 plaintext=$2 sasl=$3 sasl_ssl=$4 controller=$5
    local module=org.apache.kafka.common.security
    cat <<CONFIG
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$plaintext,SASL_PLAINTEXT://127.0.0.1:$sasl,SASL_SSL://127.0.0.1:$sasl_ssl,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$plaintext,SASL_PLAINTEXT://127.0.0.1:$sasl,SASL_SSL://127.0.0.1:$sasl_ssl
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$folder/data

sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_plaintext.plain.sasl.jaas.config=$module.plain.PlainLoginModule required user_$plain_user="$plain_password";
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=$module.scram.ScramLoginModule required;
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=$module.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=$module.plain.PlainLoginModule required user_$plain_user="$plain_password";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=$module.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$module.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$folder/tls/broker.pem

# One node: it is every replica there is.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
default.replication.factor=1
min.insync.replicas=1
# A misspelt topic must fail, not appear.
auto.create.topics.enable=false

# Tests form a group, lose a member and abandon a transaction on purpose: answer in seconds, not in minutes.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000

# Small: the defaults are for a machine of its own (the cleaner alone asks for 128 MB).
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=1
background.threads=2
controlled.shutdown.enable=false
CONFIG
}

# The command that runs a class of Kafka, in the array `java`. FOLDER on it is how stop knows the process again.
java_for() {
    java=(java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError
        -Djava.awt.headless=true "-Dlog4j2.configurationFile=file:$here/kafka/log4j2.properties"
        "-Daegis.folder=$1" -cp "$jars/*")
}

# Serving, or already dead: a node that fell over need not be waited for.
settled() {
    { grep -q 'Kafka Server started' "$1/kafka.log" && port_open "$2" && port_open "$3" && port_open "$4"; } ||
        pid_is_gone "$(cat "$1/kafka.pid")" "$1"
}

start() {
    local folder=$1 ports
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    [ ! -s "$folder/kafka.pid" ] || die "$folder already has a Kafka; stop it first"
    [ -f "$jars/.complete" ] || die "Kafka's jars are missing: run '$0 install' first"
    mapfile -t ports < <(free_ports 4)

    make_certificates "$folder/tls" >"$folder/openssl.log" 2>&1 ||
        { tail_log "$folder/openssl.log"; die "openssl could not make the test certificates"; }
    write_config "$folder" "${ports[@]}" >"$folder/server.properties"
    java_for "$folder"
    # 16 bytes in Kafka's base64: any cluster id will do.
    "${java[@]}" kafka.tools.StorageTool format --cluster-id AegisTestClusterAAAAAA \
        --config "$folder/server.properties" \
        --add-scram "SCRAM-SHA-256=[name=$scram_user,password=$scram_password]" \
        --add-scram "SCRAM-SHA-512=[name=$scram_user,password=$scram_password]" >"$folder/format.log" 2>&1 ||
        { tail_log "$folder/format.log"; die "Kafka's storage tool could not format $folder/data"; }

    serve "$folder" "${ports[@]}"
    cat <<ENV
export AEGIS_TEST_KAFKA=127.0.0.1:${ports[0]}
export AEGIS_TEST_KAFKA_SASL=127.0.0.1:${ports[1]}
export AEGIS_TEST_KAFKA_SASL_SSL=127.0.0.1:${ports[2]}
export AEGIS_TEST_KAFKA_CA='$folder/tls/ca.pem'
export AEGIS_TEST_KAFKA_PLAIN_USER=$plain_user
export AEGIS_TEST_KAFKA_PLAIN_PASSWORD=$plain_password
export AEGIS_TEST_KAFKA_SCRAM_USER=$scram_user
export AEGIS_TEST_KAFKA_SCRAM_PASSWORD=$scram_password
ENV
}

# serve FOLDER PORT...: starts the node of FOLDER and waits until it serves.
serve() {
    local folder=$1 ports=("${@:2}")
    java_for "$folder"
    [ ! -s "$folder/kafka.log" ] || mv "$folder/kafka.log" "$folder/kafka.log.$(date +%s)"
    : >"$folder/kafka.log"
    # A process group of its own: Ctrl-C in the terminal ends the tests, whose trap then stops Kafka in order.
    setsid "${java[@]}" kafka.Kafka "$folder/server.properties" </dev/null >"$folder/kafka.log" 2>&1 &
    printf '%s\n' "$!" >"$folder/kafka.pid"
    if ! wait_until 120 "Kafka to serve" settled "$folder" "${ports[@]:0:3}" || ! pid_is_ours "$(cat "$folder/kafka.pid")" "$folder"; then
        tail_log "$folder/kafka.log"
        stop_pid kafka "$folder/kafka.pid" "$folder" || true
        die "Kafka did not start"
    fi
}

crash() {
    local folder pid
    folder=$(cd "$1" && pwd)
    pid=$(cat "$folder/kafka.pid")
    pid_is_ours "$pid" "$folder" || die "no Kafka runs in $folder"
    kill -KILL "$pid"
    wait_until 10 "Kafka (process $pid) to die" pid_is_gone "$pid" "$folder"
}

revive() {
    local folder ports
    folder=$(cd "$1" && pwd)
    mapfile -t ports < <(sed -n 's/^listeners=//p' "$folder/server.properties" | tr ',' '\n' | sed 's/.*://')
    serve "$folder" "${ports[@]}"
}

# signal NAME FOLDER: to the node that runs there.
signal() {
    local folder pid
    folder=$(cd "$2" && pwd)
    pid=$(cat "$folder/kafka.pid")
    pid_is_ours "$pid" "$folder" || die "no Kafka runs in $folder"
    kill "-$1" "$pid"
}

case "${1:-}:$#" in
install:1) install ;;
start:2) start "$2" ;;
stop:2) stop_pid kafka "$2/kafka.pid" "$2" ;;
crash:2) crash "$2" ;;
revive:2) revive "$2" ;;
freeze:2) signal STOP "$2" ;;
thaw:2) signal CONT "$2" ;;
*) die "usage: $0 install | start FOLDER | stop FOLDER | crash FOLDER | revive FOLDER | freeze FOLDER | thaw FOLDER" ;;
esac
