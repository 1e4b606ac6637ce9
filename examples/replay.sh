#!/usr/bin/env bash
# replay.sh TOPIC [WHERE]: prints once more what was published to a topic, and takes nothing from anybody.
#
#   replay.sh orders                    # all that is kept
#   replay.sh orders @-3600 | grep tea  # of the last hour
#   replay.sh orders 1000               # from the message with the id 1000 on
#
# It reads as a group of its own, which is forgotten afterwards; every other group stays where it is. How much is kept
# when all groups have taken it, the server's --retain says. Needs gstream in the PATH.
set -euo pipefail

topic=${1:?usage: replay.sh TOPIC [WHERE]}
group=replay.$$

gstream seek -t "$topic" -g "$group" "${2-^}" >/dev/null
trap 'gstream groups -t "$topic" --forget "$group" >/dev/null' EXIT
gstream consume -t "$topic" -g "$group" --exit-empty || [ $? -eq 1 ] # nothing there is no failure
