#!/bin/bash
# Runs the cells of a file on several machines that share nothing, and brings the records home.
#
#     HOSTS="alice bob carol" examples/over_ssh.sh digits
#
# Each machine has prunebench installed; its folder FOLDER (default: prunebench) gets the
# records, and has your own files, if there are any.
# Given again, it goes on where it was stopped. What comes home is in runs/all.

set -euo pipefail
read -ra hosts <<< "$HOSTS"
folder=${FOLDER:-prunebench}
arguments=$(printf '%q ' "$@")

jobs=()
for number in "${!hosts[@]}"; do
    part=$((number + 1))
    ssh "${hosts[number]}" "cd $folder && mkdir -p runs/shard-$part && prunebench run $arguments \
        --shard $part/${#hosts[@]} --runs runs/shard-$part" &
    jobs+=($!)
done
status=0
for job in "${jobs[@]}"; do
    wait "$job" || status=$?
done

mkdir -p runs
for number in "${!hosts[@]}"; do
    ssh "${hosts[number]}" "cd $folder/runs && tar -cf - shard-$((number + 1))" | tar -xf - -C runs
done
prunebench merge runs/shard-* -o runs/all
exit "$status"
