#!/usr/bin/env bash
# worker.sh TOPIC COMMAND [ARGUMENT]...: runs COMMAND for each message of a topic, with nothing installed but bash.
#
#   worker.sh mails ./send-mail
#   worker.sh thumbnails sh -c 'convert - -resize 200 "thumbnail-$GSTREAM_ID.png"'
#
# COMMAND gets the message's body on its standard input, byte for byte, and GSTREAM_ID and GSTREAM_ATTEMPT in its
# environment. If it exits with 0, the message is done. If not, the message is given back, and delivered again
# RETRY_SECONDS (5) later, to whichever worker is free; what fails too often (the server's --max-attempts) goes to the
# topic TOPIC.dlq. Start as many workers as you like: they share the work.
#
# A worker that is killed loses nothing: what it had is delivered again at once. SIGTERM lets the job at hand be finished.
# It fails when the server ends; whoever wants it to come back runs it under systemd, or in a loop.
#
# From the environment: GSTREAM_HOST (127.0.0.1), GSTREAM_PORT (8080), GSTREAM_GROUP (default), RETRY_SECONDS, and
# JOB_SECONDS (3600), after which a job that still runs is taken for lost. Needs bash 4, and GNU's head, which reads no
# byte too many.
set -euo pipefail

topic=${1:?usage: worker.sh TOPIC COMMAND [ARGUMENT]...}
shift
: "${1:?usage: worker.sh TOPIC COMMAND [ARGUMENT]...}"

# Sends a command and reads its reply, word by word, into the array "reply". Fails, and says why, if the server refuses.
ask() {
    printf '%s\n' "$1" >&3
    while receive; do
        read -r -a reply <<<"$line"
        case ${reply[0]-} in
            '#') ;; # a notice
            '-') echo "worker.sh: ${reply[*]:1}" >&2 && return 1 ;;
            '+' | '$') return ;;
        esac # all else is the banner
    done
}

# Reads a line into "line", a second at a time: a signal that comes just before bash begins to wait does not wake it,
# and it runs the trap only when the wait is over.
receive() {
    local part
    line=''
    until IFS= read -r -t 1 part <&3; do
        [ $? -gt 128 ] || closed # more than 128: a second has passed
        line+=$part
    done
    line+=$part
}

closed() {
    echo 'worker.sh: the server closed the connection' >&2
    exit 1
}

# Between two jobs the worker stops at once; bash runs this only after the job at hand, if there is one.
stop() {
    [ "$working" ] || exit 0
    stopping=yes
}

working='' stopping=''
body=$(mktemp)
trap 'rm -f "$body"' EXIT
trap stop INT TERM

exec 3<>"/dev/tcp/${GSTREAM_HOST:-127.0.0.1}/${GSTREAM_PORT:-8080}"
ask "t$topic"
ask "g${GSTREAM_GROUP:-default}"
ask b # from now on each message is "$ id attempt length", a line ending, so many bytes, and a line ending

until [ "$stopping" ]; do
    ask r
    working=yes
    id=${reply[1]} attempt=${reply[2]} length=${reply[3]}
    # Through a file: a variable holds no NUL, and a COMMAND that reads only half of a pipe would leave us the rest.
    head -c "$length" <&3 >"$body"
    read -r <&3 || closed

    # A lease ends with its connection, so a long one does not make a dead worker's messages late.
    if ask "e$id ${JOB_SECONDS:-3600}"; then
        # Without descriptor 3: as long as anybody holds it, the server sees no end of this connection.
        if GSTREAM_ID=$id GSTREAM_ATTEMPT=$attempt "$@" <"$body" 3>&-; then
            ask "a$id" || true # too late: it is delivered again
        else
            ask "n$id ${RETRY_SECONDS:-5}" || true
        fi
    fi
    working=''
done
