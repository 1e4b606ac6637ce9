#!/usr/bin/env bash
# pipeline.sh DIRECTORY: a job for cron that compresses a directory's *.log files, four at a time.
#
#   */10 * * * *  pipeline.sh /var/log/shop
#
# What fails is tried again by the next run, and is kept in the topic logs.dlq when it has failed too often (the server's
# --max-attempts). Runs may overlap: they share the work. Exit code 0: something was done; 1: there was nothing to do, or
# something failed, which is told; 2: there is no server. Needs gstream in the PATH.
set -euo pipefail

find "${1:?usage: pipeline.sh DIRECTORY}" -type f -name '*.log' -print0 | gstream publish -t logs --null

# A message may come twice, and two runs may find the same file: what is done already is no failure.
# shellcheck disable=SC2016 # expanded by the shell that runs it, for each message
compress='
    file=$(cat && echo .) && file=${file%.} # a name may end in a newline
    [ ! -e "$file" ] || gzip -f -- "$file"
'
gstream consume -t logs --exec "$compress" -j 4 --exit-empty --retry-delay 60
